package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// section is one JSON object of a file. Members are found without regard to case, as .NET finds them. Each reader
// notes that the member is known, and a mistake with the member's path when it isn't what it should be; close
// reports the members that nobody asked for.
type section struct {
	path    string
	members map[string]member
	bad     *mistakes
}

type member struct {
	name  string
	value json.RawMessage
	known bool
}

func readFile(file, label string, bad *mistakes) *section {
	text, err := os.ReadFile(file) //nolint:gosec // a file of the staged app
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			err = os.ErrNotExist
		}
		bad.add(label, "reading it: %w", err)
		return newSection(label, nil, bad)
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	var value json.RawMessage
	if err := json.Unmarshal(text, &value); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			line := 1 + bytes.Count(text[:min(int(syntax.Offset), len(text))], []byte("\n"))
			bad.add(label, "line %d is not JSON: %w (comments are not allowed)", line, err)
		} else {
			bad.add(label, "not JSON: %w", err)
		}
		return newSection(label, nil, bad)
	}
	return newSection(label, value, bad)
}

func newSection(path string, value json.RawMessage, bad *mistakes) *section {
	s := &section{path: path, members: map[string]member{}, bad: bad}
	if value == nil {
		return s
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(value, &members); err != nil || members == nil {
		bad.add(path, "must be an object, is %s", short(value))
	}
	for name, v := range members {
		if _, twice := s.members[strings.ToLower(name)]; twice {
			bad.add(path, "%s is there twice with different case", name)
		}
		s.members[strings.ToLower(name)] = member{name: name, value: v}
	}
	return s
}

// get marks a member as known; null is as good as absent.
func (s *section) get(name string) (json.RawMessage, string, bool) {
	m, ok := s.members[strings.ToLower(name)]
	where := s.path + ": " + name
	if strings.Contains(s.path, ": ") {
		where = s.path + "." + name
	}
	if !ok {
		return nil, where, false
	}
	m.known = true
	s.members[strings.ToLower(name)] = m
	return m.value, where, string(m.value) != "null"
}

func (s *section) has(name string) bool {
	_, ok := s.members[strings.ToLower(name)]
	return ok
}

func (s *section) sub(name string) *section {
	value, where, ok := s.get(name)
	if !ok {
		value = nil
	}
	return newSection(where, value, s.bad)
}

func (s *section) list(name string) []*section {
	value, where, ok := s.get(name)
	if !ok {
		return nil
	}
	var values []json.RawMessage
	if err := json.Unmarshal(value, &values); err != nil {
		s.bad.add(where, "must be a list of objects, is %s", short(value))
	}
	var all []*section
	for i, v := range values {
		all = append(all, newSection(fmt.Sprintf("%s[%d]", where, i), v, s.bad))
	}
	return all
}

func (s *section) text(name, absent string) string { return read(s, name, "text", absent) }
func (s *section) yes(name string, absent bool) bool {
	return read(s, name, "true or false", absent)
}

func (s *section) number(name string, absent int) int { return read(s, name, "a whole number", absent) }

func (s *section) texts(name string) []string { return read[[]string](s, name, "a list of texts", nil) }

func (s *section) textMap(name string) map[string]string {
	return read[map[string]string](s, name, "an object of texts", nil)
}

func read[T any](s *section, name, what string, absent T) T {
	value, where, ok := s.get(name)
	if !ok {
		return absent
	}
	var v T
	if err := json.Unmarshal(value, &v); err != nil {
		s.bad.add(where, "must be %s, is %s", what, short(value))
		return absent
	}
	return v
}

// span reads a TimeSpan: [-][days.]hh:mm:ss[.fraction]. A -1, where the host takes it for "no limit", is negative.
func (s *section) span(name string, absent time.Duration) time.Duration {
	text := s.text(name, "")
	if text == "" {
		return absent
	}
	d, err := parseSpan(text)
	if err != nil {
		_, where, _ := s.get(name)
		s.bad.add(where, "%w", err)
		return absent
	}
	return d
}

func parseSpan(text string) (time.Duration, error) {
	wrong := fmt.Errorf("%q is not a time span like 00:02:00", text)
	if text == "-1" {
		return -1, nil
	}
	rest, days := text, 0
	if before, after, ok := strings.Cut(text, "."); ok && !strings.Contains(before, ":") {
		n, err := strconv.Atoi(before)
		if err != nil || n < 0 {
			return 0, wrong
		}
		rest, days = after, n
	}
	parts := strings.Split(rest, ":")
	if len(parts) != 3 {
		return 0, wrong
	}
	hours, err1 := strconv.ParseUint(parts[0], 10, 8)
	minutes, err2 := strconv.ParseUint(parts[1], 10, 8)
	seconds, err3 := strconv.ParseFloat(parts[2], 64)
	if err := errors.Join(err1, err2, err3); err != nil || hours > 23 || minutes > 59 || !(seconds >= 0 && seconds < 60) || days > 10_000 {
		return 0, wrong
	}
	return time.Duration(days)*24*time.Hour + time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute +
		time.Duration(seconds*float64(time.Second)), nil
}

// ignore accepts members that change nothing on one machine.
func (s *section) ignore(names ...string) {
	for _, name := range names {
		s.get(name)
	}
}

// close reports what nobody asked for.
func (s *section) close() {
	var names []string
	for _, m := range s.members {
		if !m.known {
			names = append(names, m.name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		s.bad.add(s.path, "%s is not known here: misspelt, or something that this host does not do", name)
	}
}

func short(value json.RawMessage) string {
	if len(value) > 60 {
		return string(value[:57]) + "..."
	}
	return string(value)
}

package route

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Parse reads a template. What ASP.NET would refuse is refused, and so are the few things it knows and this
// package doesn't (default values, an optional parameter inside a mixed segment).
func Parse(text string) (*Template, error) {
	if strings.HasPrefix(text, "/") || strings.HasPrefix(text, "~") {
		return nil, fmt.Errorf("route %q: begins with %q; leave that out", text, text[:1])
	}
	t := &Template{text: text}
	var names []string
	pieces, err := cut(text)
	if err != nil {
		return nil, fmt.Errorf("route %q: %w", text, err)
	}
	for i, parts := range pieces {
		s, err := newSegment(parts)
		if err != nil {
			return nil, fmt.Errorf("route %q: %w", text, err)
		}
		if (s.catchAll || s.optional) && i != len(pieces)-1 {
			return nil, fmt.Errorf("route %q: {%s} takes what may be missing or longer, so it must be last", text, s.text)
		}
		for _, p := range s.params {
			if slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, p.name) }) {
				return nil, fmt.Errorf("route %q: parameter %q is there twice", text, p.name)
			}
			names = append(names, p.name)
		}
		t.segments = append(t.segments, *s)
	}
	return t, nil
}

// part is a piece of a segment: literal text, or what stands between braces.
type part struct {
	text  string
	param bool
}

// cut takes a template apart into segments of parts. Doubled braces are single ones, inside parameters too, which
// is how a regular expression writes {2}. Square brackets are never doubled: the host was seen not to undouble them.
func cut(text string) ([][]part, error) {
	if text == "" {
		return nil, nil
	}
	var segments [][]part
	var parts []part
	var literal strings.Builder
	flush := func() {
		if literal.Len() > 0 {
			parts = append(parts, part{text: literal.String()})
			literal.Reset()
		}
	}
	for i := 0; i < len(text); i++ {
		doubled := i+1 < len(text) && text[i+1] == text[i]
		switch c := text[i]; {
		case (c == '{' || c == '}') && doubled:
			literal.WriteByte(c)
			i++
		case c == '{':
			flush()
			content, length, err := parameter(text[i+1:])
			if err != nil {
				return nil, err
			}
			if len(parts) > 0 && parts[len(parts)-1].param {
				return nil, fmt.Errorf("{%s} follows another parameter with nothing between", content)
			}
			parts = append(parts, part{text: content, param: true})
			i += length
		case c == '}':
			return nil, fmt.Errorf("a } without its {")
		case c == '?':
			return nil, fmt.Errorf("a ? outside a parameter")
		case c == '/':
			flush()
			if len(parts) == 0 {
				return nil, fmt.Errorf("two slashes with nothing between")
			}
			segments, parts = append(segments, parts), nil
		default:
			literal.WriteByte(c)
		}
	}
	flush()
	if len(parts) > 0 {
		segments = append(segments, parts)
	}
	return segments, nil
}

// parameter reads up to the closing brace and tells how many bytes that took, brace included.
func parameter(text string) (content string, length int, err error) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		doubled := i+1 < len(text) && text[i+1] == text[i]
		switch c := text[i]; {
		case (c == '{' || c == '}') && doubled:
			b.WriteByte(c)
			i++
		case c == '{':
			return "", 0, fmt.Errorf("a { inside {%s; inside a regular expression write {{", b.String())
		case c == '}':
			return b.String(), i + 1, nil
		default:
			b.WriteByte(c)
		}
	}
	return "", 0, fmt.Errorf("{%s has no closing }", text)
}

func newSegment(parts []part) (*segment, error) {
	s := &segment{}
	var pattern strings.Builder
	pattern.WriteString("(?is)^")
	for _, p := range parts {
		s.text += p.text
		if !p.param {
			s.literal += p.text
			pattern.WriteString(regexp.QuoteMeta(p.text))
			continue
		}
		parsed, catchAll, optional, err := newParam(p.text)
		if err != nil {
			return nil, err
		}
		if len(parts) > 1 && (catchAll || optional) {
			return nil, fmt.Errorf("{%s} can't share its segment with other text", p.text)
		}
		s.params = append(s.params, parsed)
		s.catchAll, s.optional = catchAll, optional
		// ASP.NET reads a mixed segment from its end, which makes every parameter but the last greedy.
		pattern.WriteString("(.+)")
	}
	if len(s.params) > 0 && len(parts) > 1 {
		pattern.WriteByte('$')
		compiled, err := regexp.Compile(pattern.String())
		if err != nil {
			return nil, fmt.Errorf("segment %q: %w", s.text, err)
		}
		s.pattern = compiled
	}
	return s, nil
}

func newParam(content string) (p param, catchAll, optional bool, err error) {
	rest := strings.TrimLeft(content, "*")
	if stars := len(content) - len(rest); stars > 2 {
		return p, false, false, fmt.Errorf("{%s} has more than two stars", content)
	} else if stars > 0 {
		catchAll = true
	}
	if strings.HasSuffix(rest, "?") {
		rest, optional = strings.TrimSuffix(rest, "?"), true
	}
	if catchAll && optional {
		return p, false, false, fmt.Errorf("{%s}: a catch-all already takes nothing, so it can't be optional too", content)
	}
	p.name, rest, _ = strings.Cut(rest, ":")
	if strings.Contains(p.name, "=") {
		return p, false, false, fmt.Errorf("{%s}: default values are not known here", content)
	}
	if p.name == "" || strings.ContainsAny(p.name, "/*?(){} ") {
		return p, false, false, fmt.Errorf("{%s} has no proper name", content)
	}
	if content != "" && strings.HasSuffix(strings.TrimSuffix(content, "?"), ":") {
		return p, false, false, fmt.Errorf("{%s} has an empty constraint", content)
	}
	for rest != "" {
		var text string
		text, rest = firstConstraint(rest)
		c, err := newConstraint(text)
		if err != nil {
			return p, false, false, fmt.Errorf("{%s}: %w", content, err)
		}
		p.constraints = append(p.constraints, c)
	}
	return p, catchAll, optional, nil
}

// firstConstraint cuts at the first colon that isn't inside an argument. An argument ends with a parenthesis that is
// followed by a colon or by nothing; parentheses and colons inside a regular expression are safe but for that pair.
func firstConstraint(text string) (first, rest string) {
	open, colon := strings.IndexByte(text, '('), strings.IndexByte(text, ':')
	if open >= 0 && (colon < 0 || open < colon) {
		if end := strings.Index(text, "):"); end >= 0 {
			return text[:end+1], text[end+2:]
		}
		return text, ""
	}
	first, rest, _ = strings.Cut(text, ":")
	return first, rest
}

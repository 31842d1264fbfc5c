package app

import (
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Schedule is a timer's NCRONTAB expression, read in UTC as a Flex app reads it.
type Schedule struct {
	text string
	spec *cron.SpecSchedule
}

// String is the expression as written, settings resolved.
func (s Schedule) String() string { return s.text }

// Next is the first occurrence after t.
func (s Schedule) Next(t time.Time) time.Time { return s.spec.Next(t.UTC()) }

// frequent tells whether some neighbouring occurrences lie less than a minute apart.
func (s Schedule) frequent(from time.Time) bool {
	for range 5 {
		first := s.Next(from)
		second := s.Next(first)
		if second.IsZero() {
			return false
		}
		if second.Sub(first) < time.Minute {
			return true
		}
		from = first
	}
	return false
}

var (
	sixFields  = cron.NewParser(cron.Second | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)
	fiveFields = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)
)

// everyDay is the bit with which the parser marks a day field that was a star.
const everyDay = 1 << 63

// ParseSchedule reads six fields (five are taken as a schedule at second 0). A TimeSpan such as 00:05:00 is refused:
// the real host takes one on Dedicated plans only.
func ParseSchedule(text string) (Schedule, error) {
	parser := sixFields
	switch fields := strings.Fields(text); {
	case strings.HasPrefix(text, "@") || strings.ContainsAny(text, "?=LW#"):
		return Schedule{}, fmt.Errorf("schedule %q: not NCRONTAB; write {second} {minute} {hour} {day} {month} {day of week}", text)
	case len(fields) == 1 && strings.Contains(text, ":"):
		return Schedule{}, fmt.Errorf("schedule %q: time spans only work on Dedicated plans; write {second} {minute} {hour} {day} {month} {day of week}", text)
	case len(fields) == 5:
		parser = fiveFields
	}
	parsed, err := parser.Parse(text)
	if err != nil {
		return Schedule{}, fmt.Errorf("schedule %q: %w; write {second} {minute} {hour} {day} {month} {day of week}", text, err)
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return Schedule{}, fmt.Errorf("schedule %q: not made of fields", text)
	}
	spec.Location = time.UTC
	// Vixie cron runs when the day of month OR the day of week fits, once both are restricted; NCRONTAB wants both.
	// The star's mark makes this parser want both too.
	spec.Dom |= everyDay
	s := Schedule{text: text, spec: spec}
	if s.Next(time.Now()).IsZero() {
		return Schedule{}, fmt.Errorf("schedule %q: never comes", text)
	}
	return s, nil
}

package app

import (
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
)

// The host's log levels on slog's scale.
const (
	LevelTrace       = slog.LevelDebug - 4
	LevelInformation = slog.LevelInfo
	LevelCritical    = slog.LevelError + 4
	levelNone        = slog.Level(math.MaxInt32)
)

// Levels are logging.logLevel: for each category prefix the lowest level that is wanted. The longest prefix decides.
type Levels struct {
	rules    []levelRule // longest prefix first
	fallback slog.Level
}

type levelRule struct {
	prefix string
	level  slog.Level
}

// Enabled tells whether a line of the category is wanted.
func (l Levels) Enabled(category string, level slog.Level) bool {
	for _, rule := range l.rules {
		if len(category) >= len(rule.prefix) && strings.EqualFold(category[:len(rule.prefix)], rule.prefix) {
			return level >= rule.level
		}
	}
	return level >= l.fallback
}

func newLevels(texts map[string]string, where string, bad *mistakes) Levels {
	l := Levels{fallback: LevelInformation}
	for category, text := range texts {
		level, err := parseLevel(text)
		if err != nil {
			bad.add(where+"."+category, "%w", err)
			continue
		}
		if strings.EqualFold(category, "default") {
			l.fallback = level
			continue
		}
		l.rules = append(l.rules, levelRule{prefix: category, level: level})
	}
	slices.SortFunc(l.rules, func(a, b levelRule) int { return len(b.prefix) - len(a.prefix) })
	return l
}

func parseLevel(text string) (slog.Level, error) {
	switch strings.ToLower(text) {
	case "trace":
		return LevelTrace, nil
	case "debug":
		return slog.LevelDebug, nil
	case "information":
		return LevelInformation, nil
	case "warning":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	case "critical":
		return LevelCritical, nil
	case "none":
		return levelNone, nil
	}
	return 0, fmt.Errorf("%q is not a level: Trace, Debug, Information, Warning, Error, Critical or None", text)
}

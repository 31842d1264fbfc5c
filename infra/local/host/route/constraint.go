package route

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf16"
)

type constraint struct {
	text    string
	accepts func(value string) bool
}

var (
	guidForms = regexp.MustCompile(`(?i)^(?:[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|` +
		`\{[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\}|\([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\))$`)
	letters = regexp.MustCompile(`^[A-Za-z]*$`)
)

// newConstraint reads "int" or "range(1,9)". ASP.NET's datetime and file constraints hang on .NET's own parsers and
// are refused rather than half known.
func newConstraint(text string) (constraint, error) {
	name, argument, hasArgument := strings.Cut(text, "(")
	if hasArgument {
		if !strings.HasSuffix(argument, ")") {
			return constraint{}, fmt.Errorf("constraint %q has no closing parenthesis", text)
		}
		argument = strings.TrimSuffix(argument, ")")
	}
	c := constraint{text: text}
	var err error
	switch strings.ToLower(name) {
	case "int":
		c.accepts = integer(32)
	case "long":
		c.accepts = integer(64)
	case "bool":
		c.accepts = func(v string) bool { return strings.EqualFold(v, "true") || strings.EqualFold(v, "false") }
	case "guid":
		c.accepts = guidForms.MatchString
	case "alpha":
		c.accepts = letters.MatchString
	case "float", "double", "decimal":
		c.accepts = func(v string) bool {
			_, err := strconv.ParseFloat(strings.ReplaceAll(v, ",", ""), 64)
			return err == nil
		}
	case "required":
		c.accepts = func(v string) bool { return v != "" }
	case "regex":
		c.accepts, err = expression(argument)
	case "min", "max", "range":
		c.accepts, err = bounded(name, argument, func(v string) (int64, bool) {
			n, err := strconv.ParseInt(v, 10, 64)
			return n, err == nil
		})
	case "minlength", "maxlength", "length":
		c.accepts, err = bounded(strings.TrimSuffix(strings.ToLower(name), "length"), argument, func(v string) (int64, bool) {
			return int64(len(utf16.Encode([]rune(v)))), true // .NET counts UTF-16 units
		})
	default:
		return constraint{}, fmt.Errorf("constraint %q is not known", text)
	}
	if err != nil {
		return constraint{}, fmt.Errorf("constraint %q: %w", text, err)
	}
	switch strings.ToLower(name) {
	case "int", "long", "bool", "guid", "alpha", "float", "double", "decimal", "required":
		if hasArgument {
			return constraint{}, fmt.Errorf("constraint %q takes no argument", text)
		}
	}
	return c, nil
}

func integer(bits int) func(string) bool {
	return func(v string) bool { _, err := strconv.ParseInt(v, 10, bits); return err == nil }
}

// expression is unanchored and ignores case, as ASP.NET's is. Look-around and back references, which Go's engine
// doesn't have, are refused at load.
func expression(text string) (func(string) bool, error) {
	if text == "" {
		return nil, fmt.Errorf("no expression in the parentheses")
	}
	compiled, err := regexp.Compile("(?i)" + text)
	if err != nil {
		return nil, fmt.Errorf("reading the expression: %w", err)
	}
	return compiled.MatchString, nil
}

// bounded makes min(n), max(n), range(low,high), and for lengths also "" (n or low,high).
func bounded(kind, argument string, measure func(string) (int64, bool)) (func(string) bool, error) {
	var bounds []int64
	for _, text := range strings.Split(argument, ",") {
		n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is not a whole number", text)
		}
		bounds = append(bounds, n)
	}
	low, high := int64(-1<<63), int64(1<<63-1)
	switch kind = strings.ToLower(kind); {
	case kind == "min" && len(bounds) == 1:
		low = bounds[0]
	case kind == "max" && len(bounds) == 1:
		high = bounds[0]
	case kind == "" && len(bounds) == 1:
		low, high = bounds[0], bounds[0]
	case (kind == "" || kind == "range") && len(bounds) == 2 && bounds[0] <= bounds[1]:
		low, high = bounds[0], bounds[1]
	default:
		return nil, fmt.Errorf("%q are not its bounds", argument)
	}
	return func(v string) bool {
		n, ok := measure(v)
		return ok && low <= n && n <= high
	}, nil
}

package rest

import "strings"

// RespondAsync is the preference of RFC 7240, section 4.1.
const RespondAsync = "respond-async"

// prefers tells whether a preference is among the values of Prefer (RFC 7240, section 2): a list of tokens, each with
// an optional value and parameters, in any number of lines. What is not understood is passed over, as the RFC asks.
func prefers(lines []string, preference string) bool {
	for _, line := range lines {
		for _, item := range split(line) {
			name, _, _ := strings.Cut(item, ";")
			if strings.EqualFold(strings.TrimSpace(name), preference) {
				return true
			}
		}
	}
	return false
}

// split cuts a list at its commas, but not inside of quotes.
func split(list string) (items []string) {
	start, quoted := 0, false
	for i := 0; i < len(list); i++ {
		switch c := list[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			items, start = append(items, list[start:i]), i+1
		}
	}
	return append(items, list[start:])
}

package rest

import (
	"net/http"
	"strings"
)

// MatchStrong is the comparison of If-Match (RFC 9110, section 13.1.1): weak tags never match. etag "" means
// that there is nothing to match.
func MatchStrong(header, etag string) bool {
	return match(header, etag, func(tag string) bool { return tag == etag })
}

// MatchWeak is the comparison of If-None-Match (section 13.1.2).
func MatchWeak(header, etag string) bool {
	return match(header, etag, func(tag string) bool {
		return strings.TrimPrefix(tag, "W/") == strings.TrimPrefix(etag, "W/")
	})
}

func match(header, etag string, same func(string) bool) bool {
	if etag == "" {
		return false
	}
	if strings.TrimSpace(header) == "*" {
		return true
	}
	for header != "" {
		var tag string
		if tag, header = nextTag(header); tag != "" && same(tag) {
			return true
		}
	}
	return false
}

// nextTag cuts the first entity tag off a list, "" for what is none: it is passed over. A comma may be inside of a tag.
func nextTag(list string) (tag, rest string) {
	list = strings.TrimLeft(list, " \t,")
	opaque := strings.TrimPrefix(list, "W/")
	if !strings.HasPrefix(opaque, `"`) {
		_, rest, _ = strings.Cut(list, ",")
		return "", rest
	}
	end := strings.IndexByte(opaque[1:], '"')
	if end < 0 {
		return "", ""
	}
	end += len(list) - len(opaque) + 2
	tag, rest = list[:end], strings.TrimLeft(list[end:], " \t")
	if rest != "" && rest[0] != ',' {
		_, rest, _ = strings.Cut(rest, ",")
		return "", rest
	}
	return tag, rest
}

// list joins the lines of a header that is a list.
func list(h http.Header, name string) string {
	switch lines := h[name]; len(lines) {
	case 0:
		return ""
	case 1:
		return lines[0]
	default:
		return strings.Join(lines, ", ")
	}
}

// conditions are the preconditions of a change. Conditions on dates are no part of them: nothing here has a date of its
// last change, and without one they are passed over (RFC 9110, sections 13.1.3 and 13.1.4).
type conditions struct{ match, noneMatch string }

// Unmet says why a change must not be made to what has this ETag now: a problem of kind PreconditionFailed, or nil. Ask it
// under the lock of what is changed, so that the check and the write are one (RFC 9110, section 13.2.2).
func (c *Call) Unmet(etag, what string) *Problem {
	if c.conditions.match != "" && !MatchStrong(c.conditions.match, etag) {
		return NewProblem(PreconditionFailed, "%s has changed since you read it.", what)
	}
	if c.conditions.noneMatch != "" && MatchWeak(c.conditions.noneMatch, etag) {
		return NewProblem(PreconditionFailed, "%s is one of those that If-None-Match excludes.", what)
	}
	return nil
}

// Conditional tells whether the change has preconditions at all: without any, no ETag needs to be made.
func (c *Call) Conditional() bool { return c.conditions != conditions{} }

// unmatched tells whether a read asked for a version that isn't there any more.
func unmatched(r *http.Request, a Answer) bool {
	if a.Status != http.StatusOK || !reads(r.Method) {
		return false
	}
	lines := r.Header["If-Match"]
	return len(lines) > 0 && !MatchStrong(list(r.Header, "If-Match"), a.ETag)
}

func reads(method string) bool { return method == http.MethodGet || method == http.MethodHead }

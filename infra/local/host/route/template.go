// Package route matches request paths against the route templates of Azure Functions: ASP.NET's, as a function.json
// spells them (`api/v1/orders/{*rest}`, `openapi.{format}`, `v{version:int}/x/{id:guid?}`).
//
// Only the question "does this path belong to this function?" is answered; in proxy mode the host hands no route
// values on. There is no ranking: the host tries templates one after the other, so Covers tells which template
// leaves nothing for another.
//
// Read template.go (what is matched), parse.go (how it is spelled), then constraint.go.
package route

import (
	"regexp"
	"slices"
	"strings"
)

// Template is one parsed route.
type Template struct {
	text     string
	segments []segment
}

// segment is what stands between two slashes: a literal, a lone parameter, or a mix of both.
type segment struct {
	text     string // as written, for comparing mixed segments
	literal  string // when the segment has no parameter
	params   []param
	pattern  *regexp.Regexp // when it mixes literals and parameters; one group per parameter
	catchAll bool
	optional bool
}

type param struct {
	name        string
	constraints []constraint
}

// String is the template as it was written.
func (t *Template) String() string { return t.text }

// Split cuts a decoded request path into what Match takes. One slash at the end is as good as none.
func Split(path string) []string {
	path = strings.TrimPrefix(path, "/")
	if path == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(path, "/"), "/")
}

// Match tells whether the path, as cut by Split, belongs to the template. Literals are compared without case.
// An empty segment (two slashes) matches nothing, except deep inside what a catch-all takes: the host was seen to
// answer 404 to /api//x even for api/{*rest}, and to match /api/x//y.
func (t *Template) Match(path []string) bool {
	for i := range t.segments {
		s := &t.segments[i]
		if s.catchAll {
			return s.matchRest(path)
		}
		if len(path) == 0 {
			return s.optional
		}
		if path[0] == "" || !s.match(path[0]) {
			return false
		}
		path = path[1:]
	}
	return len(path) == 0
}

func (s *segment) match(value string) bool {
	switch {
	case s.pattern != nil:
		groups := s.pattern.FindStringSubmatch(value)
		if groups == nil {
			return false
		}
		for i := range s.params {
			if !s.params[i].accepts(groups[i+1]) {
				return false
			}
		}
		return true
	case len(s.params) == 1:
		return s.params[0].accepts(value)
	default:
		return strings.EqualFold(s.literal, value)
	}
}

func (s *segment) matchRest(path []string) bool {
	if len(path) == 0 {
		return len(s.params[0].constraints) == 0
	}
	if path[0] == "" {
		return false
	}
	return len(s.params[0].constraints) == 0 || s.params[0].accepts(strings.Join(path, "/"))
}

func (p *param) accepts(value string) bool {
	for i := range p.constraints {
		if !p.constraints[i].accepts(value) {
			return false
		}
	}
	return true
}

// Covers tells whether t certainly matches every path that u matches, so that u, tried after t, is never reached.
// It may miss a case where two regular expressions happen to mean the same.
func (t *Template) Covers(u *Template) bool {
	for i := range t.segments {
		s := &t.segments[i]
		if s.catchAll {
			rest := u.segments[min(i, len(u.segments)):]
			return len(s.params[0].constraints) == 0 ||
				len(rest) == 1 && rest[0].catchAll && s.params[0].covers(&rest[0].params[0])
		}
		if i >= len(u.segments) {
			return s.optional
		}
		other := &u.segments[i]
		if other.catchAll || other.optional && !s.optional || !s.covers(other) {
			return false
		}
	}
	return len(t.segments) >= len(u.segments)
}

func (s *segment) covers(other *segment) bool {
	switch {
	case len(other.params) == 0:
		return s.match(other.literal)
	case s.pattern != nil:
		return strings.EqualFold(s.text, other.text)
	case len(s.params) == 1 && other.pattern == nil:
		return s.params[0].covers(&other.params[0])
	case len(s.params) == 1:
		return len(s.params[0].constraints) == 0
	default:
		return false
	}
}

func (p *param) covers(other *param) bool {
	for i := range p.constraints {
		if !slices.ContainsFunc(other.constraints, func(c constraint) bool { return c.text == p.constraints[i].text }) {
			return false
		}
	}
	return true
}

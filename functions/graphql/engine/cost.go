package engine

import (
	"fmt"
	"strings"
)

// maxPoints keeps a sum of costs from running over: nothing near it is allowed.
const maxPoints = 1 << 30

func tooCostly(cost, limit int) *Refusal {
	r := refuse(Validating, CodeTooLarge, fmt.Sprintf("The operation costs up to %d points, at most %d are allowed: ask for shorter pages or fewer fields.", cost, limit))
	r.Errors[0].Extensions = map[string]any{"cost": map[string]int{"requested": cost, "limit": limit}}
	return r
}

// cost is what one object's selection may come to.
func (b *Bound) cost(s *selection) (points int) {
	for _, f := range s.deep {
		inner := 0
		for _, sub := range f.sub {
			inner = max(inner, b.cost(sub))
		}
		points = min(maxPoints, points+b.weigh(f, inner))
	}
	return points
}

// weigh is the cost of a field, of whose objects each costs inner. A field that is a list itself costs as many times its
// weight; a connection is one object that holds so many.
func (b *Bound) weigh(f *field, inner int) int {
	size := 1
	if f.assumed > 0 {
		size = f.assumed
		for _, name := range f.slicing {
			switch v := b.args[f.argument][name].(type) {
			case int:
				size = max(0, v)
			case []any:
				size = len(v)
			}
		}
	}
	if f.list {
		return min(maxPoints, size*(f.weight+inner))
	}
	return min(maxPoints, f.weight+size*inner)
}

func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

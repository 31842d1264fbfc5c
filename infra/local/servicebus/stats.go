package servicebus

import (
	"slices"
	"strings"
)

// Counts is how many messages an entity holds, by what may happen to them.
type Counts struct {
	Active      int   `json:"active"`
	Locked      int   `json:"locked"`
	Deferred    int   `json:"deferred"`
	Scheduled   int   `json:"scheduled"`
	DeadLetters int   `json:"deadLetters"`
	Bytes       int64 `json:"bytes"`
}

// Stat is an entity's counts.
type Stat struct {
	Entity string `json:"entity"`
	Counts
}

// Depth is what an entity holds; false when there is none of this name.
func (b *Broker) Depth(name string) (Counts, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entities[key(name)]
	if e == nil {
		return Counts{}, false
	}
	return e.counts(), true
}

// Stats is what each queue, topic and subscription holds, by name. Dead letters are counted with their entity.
func (b *Broker) Stats() []Stat {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []Stat
	for _, e := range b.entities {
		if e.kind != kindDeadLetters {
			out = append(out, Stat{e.name, e.counts()})
		}
	}
	slices.SortFunc(out, func(a, b Stat) int { return strings.Compare(a.Entity, b.Entity) })
	return out
}

func (e *entity) counts() Counts {
	c := Counts{Bytes: e.bytes}
	for _, m := range e.messages {
		switch {
		case m.lock != nil:
			c.Locked++
		case m.state == stateDeferred:
			c.Deferred++
		case m.state == stateScheduled:
			c.Scheduled++
		default:
			c.Active++
		}
	}
	if e.deadLetters != nil {
		c.DeadLetters = len(e.deadLetters.messages)
	}
	return c
}

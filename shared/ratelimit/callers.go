package ratelimit

import (
	"sync"
	"time"

	"github.com/google/uuid"
)

const (
	shards = 16
	// perShard bounds the memory: 64,000 callers of a class, of some 200 bytes each.
	perShard = 4000
)

// callers are those that this process counts by itself.
type callers struct {
	shards [shards]struct {
		mu  sync.Mutex
		all map[uuid.UUID]*entry
	}
}

// entry is one caller.
type entry struct {
	mu      sync.Mutex
	counts  []count   // of the quotas, then of the replays
	touched time.Time // guarded by the shard's mutex
	lease   lease
}

// known is a caller's entry, nil when there is none.
func (cs *callers) known(caller uuid.UUID) *entry {
	s := &cs.shards[caller[0]%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[caller]
}

// of is a caller's entry. When there are too many, those go that have nothing left to remember, and then any: one who
// is forgotten may call more, which is better than a process without memory.
func (cs *callers) of(caller uuid.UUID, l *Limit) *entry {
	now := l.Now()
	s := &cs.shards[caller[0]%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.all[caller]
	if e == nil {
		if s.all == nil {
			s.all = make(map[uuid.UUID]*entry)
		}
		if len(s.all) >= perShard {
			for id, old := range s.all {
				if now.Sub(old.touched) > l.longest {
					delete(s.all, id)
				}
			}
			for id := range s.all {
				if len(s.all) < perShard*3/4 {
					break
				}
				delete(s.all, id)
			}
		}
		e = &entry{counts: make([]count, 2*len(l.quotas))}
		s.all[caller] = e
	}
	e.touched = now
	return e
}

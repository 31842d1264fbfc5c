package receiver

import (
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	maxDeliveries = 1000
	maxIDs        = 100_000 // ids outlive their deliveries: a late duplicate is still one
	maxExcerpt    = 4 << 10
)

// Delivery is one request that came.
type Delivery struct {
	N         int       `json:"n"` // counts all, from 1
	At        time.Time `json:"at"`
	ID        string    `json:"id"`
	Type      string    `json:"type"`
	Mode      string    `json:"mode"`
	Status    int       `json:"status"` // what was answered; 0 for no answer
	Verified  bool      `json:"verified"`
	Problem   string    `json:"problem,omitempty"` // why it isn't verified
	Attempt   int       `json:"attempt,omitempty"` // the how manieth of this id, of those verified
	Duplicate bool      `json:"duplicate"`         // this id was accepted before: a receiver has nothing left to do
	Changed   bool      `json:"changed"`           // this id came before with other bytes, which must never be
	Body      string    `json:"body"`
}

// Totals count since the start, or since they were cleared.
type Totals struct {
	Received   int `json:"received"`
	Accepted   int `json:"accepted"` // different ids
	Duplicates int `json:"duplicates"`
	Unverified int `json:"unverified"`
	Changed    int `json:"changed"`
}

// Report is the log for others: the newest first.
type Report struct {
	Totals     Totals     `json:"totals"`
	Deliveries []Delivery `json:"deliveries"`
}

// log is what came. Only verified deliveries count for an id: anybody can post a known id here.
type log struct {
	mu     sync.Mutex
	totals Totals
	last   []Delivery // at most maxDeliveries, the oldest first
	ids    map[string]*history
	order  []string // of ids, the oldest first
}

type history struct {
	digest   [sha256.Size]byte
	attempts int
	accepted bool
}

func (l *log) add(d Delivery, body []byte) {
	var event struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(body, &event) == nil {
		d.Type = event.Type
	}
	d.Body = excerpt(body)
	digest := sha256.Sum256(body)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.totals.Received++
	d.N = l.totals.Received
	if d.Verified {
		h := l.history(d.ID, digest)
		h.attempts++
		d.Attempt, d.Duplicate, d.Changed = h.attempts, h.accepted, h.digest != digest
		if d.Mode == modeOK && d.Status == http.StatusOK && !h.accepted {
			h.accepted = true
			l.totals.Accepted++
		}
	} else {
		l.totals.Unverified++
	}
	if d.Duplicate {
		l.totals.Duplicates++
	}
	if d.Changed {
		l.totals.Changed++
	}
	if len(l.last) == maxDeliveries {
		l.last = l.last[1:] // append moves what is left when it runs out of room
	}
	l.last = append(l.last, d)
}

func (l *log) history(id string, digest [sha256.Size]byte) *history {
	if h := l.ids[id]; h != nil {
		return h
	}
	if l.ids == nil {
		l.ids = map[string]*history{}
	}
	if len(l.order) == maxIDs {
		delete(l.ids, l.order[0])
		l.order = l.order[1:]
	}
	h := &history{digest: digest}
	l.ids[id] = h
	l.order = append(l.order, id)
	return h
}

func (l *log) report(limit int) Report {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := Report{Totals: l.totals, Deliveries: make([]Delivery, 0, min(limit, len(l.last)))}
	for n := len(l.last) - 1; n >= 0 && len(out.Deliveries) < limit; n-- {
		out.Deliveries = append(out.Deliveries, l.last[n])
	}
	return out
}

func (l *log) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.totals, l.last, l.ids, l.order = Totals{}, nil, nil, nil
}

func excerpt(body []byte) string {
	return strings.ToValidUTF8(string(body[:min(len(body), maxExcerpt)]), "\uFFFD")
}

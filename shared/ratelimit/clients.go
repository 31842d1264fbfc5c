package ratelimit

import (
	"errors"
	"strings"

	"github.com/google/uuid"

	sharedredis "github.com/company/order-catalog-service/shared/redis"
)

// clientClass is what the policies of applications are called in headers, metrics and keys.
const clientClass = "client"

// maxNamed is how many applications may have a limit of their own.
const maxNamed = 100

// Clients is what an application may do, with all its users together. What it does is charged by leases (Charge.Take), so
// that most calls cost no round trip: the claim of a write stays the only one, and the script that makes it has nothing to do
// with applications, whose windows lie elsewhere in a cluster. A nil Clients allows everything.
type Clients struct {
	every *Limit // nil: not limited
	named map[string]*Limit
}

// errClients is what ParseClients tells: settings are never quoted in errors.
var errClients = errors.New("must be off, or limits with semicolons between them: 6000/1m for each client, partner-7=60000/1m or partner-7=off for one; up to 100 of those")

// ParseClients reads what applications may do: for each of them, and for some by their id. The keys of the result are ids,
// "" for all that have none of their own.
func ParseClients(text string) (map[string][]Policy, error) {
	list := map[string][]Policy{}
	for item := range strings.SplitSeq(text, ";") {
		id, policies, named := strings.Cut(strings.TrimSpace(item), "=")
		if !named {
			id, policies = "", id
		}
		if _, twice := list[id]; twice || named && id == "" || len(list) > maxNamed {
			return nil, errClients
		}
		var err error
		if list[id], err = Parse(clientClass, policies); err != nil {
			return nil, errClients
		}
	}
	return list, nil
}

// NewClients makes the limits of applications; nil when there are none.
func NewClients(policies map[string][]Policy, lane *sharedredis.Lane, processes int) (*Clients, error) {
	c, limited := &Clients{named: map[string]*Limit{}}, false
	for id, list := range policies {
		l, err := New(Options{Class: clientClass, Policies: list, Lane: lane, Leased: true, Processes: processes, WhenAway: Share})
		if err != nil {
			return nil, err
		}
		limited = limited || l != nil
		if id == "" {
			c.every = l
		} else {
			c.named[id] = l
		}
	}
	if !limited {
		return nil, nil //nolint:nilnil // no limit is a Clients that allows everything
	}
	return c, nil
}

// Open begins the bill of an application's call. key is the application's digest, id its id; "" is of a token that doesn't
// say which it was given to, and can't be charged to any.
func (c *Clients) Open(id string, key uuid.UUID) *Charge {
	if c == nil || id == "" {
		return nil
	}
	if own, named := c.named[id]; named {
		return own.Open(key)
	}
	return c.every.Open(key)
}

// payment is what a call was charged to.
type payment uint8

const (
	unpaid payment = iota
	paidByLease
	paidOnCredit
	paidAlone
)

// Free tells whether the call turned out to be one that is not counted: it was refused, or a repeat of an answered key.
func (c *Charge) Free() bool { return c != nil && c.free }

// GiveBack returns what Take has charged, for a call that another limit has not counted.
func (c *Charge) GiveBack() {
	if c == nil || c.paid == unpaid {
		return
	}
	e := c.limit.callers.of(c.caller, c.limit)
	e.mu.Lock()
	defer e.mu.Unlock()
	switch l := &e.lease; {
	case c.paid == paidByLease && c.ends.Equal(l.ends): // of a lease that has ended nothing is left to give back to
		l.left++
	case c.paid == paidOnCredit && l.debt > 0:
		l.debt--
		l.credit++
	case c.paid == paidAlone:
		e.uncount(len(c.limit.quotas))
	}
	c.paid = unpaid
}

// uncount takes the last call out of n windows again. A slot later it stays counted: the safe side. e.mu is held.
func (e *entry) uncount(n int) {
	for i := range n {
		if newest := &e.counts[i].slots[0]; *newest > 0 {
			*newest--
		}
	}
}

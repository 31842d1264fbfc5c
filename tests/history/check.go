package history

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Violation is a broken promise: its id in docs/resilience.md and the evidence.
type Violation struct{ Promise, What string }

// String implements fmt.Stringer.
func (v Violation) String() string { return v.Promise + ": " + v.What }

// undecided is the promise of a Violation that is none: something could not be proved in the time that there was.
const undecided = "undecided"

// Undecided tells whether the violation is only a missing proof.
func (v Violation) Undecided() bool { return v.Promise == undecided }

// Options bound the work of Check.
type Options struct {
	Patience time.Duration // for one product's stock; 0: half a minute
}

// Check proves the promises on a history and what the stores hold after it. Nothing broken is an empty list.
func Check(h History, t Truth, o Options) []Violation {
	if o.Patience == 0 {
		o.Patience = 30 * time.Second
	}
	asked, broken := settle(h)
	for _, check := range [][]Violation{
		checkEffects(asked, t), checkLedger(h, asked, t), checkCarts(asked, t), checkEvents(t), checkDeliveries(t), checkStock(h, asked, t, o.Patience),
	} {
		broken = append(broken, check...)
	}
	return broken
}

// asking is all attempts with one key.
type asking struct {
	op         Op
	client     int
	lines      []Line
	of         string
	begin, end time.Duration // of the first, and of the one that settled it
	settled    bool
	final      Attempt
}

// effect tells whether what was asked for happened, as far as its answers or the database say.
func (a *asking) effect(t Truth) bool {
	if a.settled {
		return a.final.OK()
	}
	if a.op == Cancel {
		o, ok := orderByID(t, a.of)
		return ok && o.Status == "Cancelled"
	}
	return false
}

// settle puts attempts together by key. A key has one answer: whoever asks again gets the same bytes.
func settle(h History) (map[string]*asking, []Violation) {
	var broken []Violation
	asked := map[string]*asking{}
	attempts := slices.Clone(h.Attempts)
	slices.SortStableFunc(attempts, func(a, b Attempt) int { return cmp.Compare(a.End, b.End) })
	for _, at := range attempts {
		a := asked[at.Key]
		if a == nil {
			a = &asking{op: at.Op, client: at.Client, lines: at.Lines, of: at.Of, begin: at.Begin}
			asked[at.Key] = a
		}
		a.begin = min(a.begin, at.Begin)
		if !at.Final() {
			continue
		}
		if !a.settled {
			a.settled, a.final, a.end = true, at, at.End
			continue
		}
		if at.Status != a.final.Status || at.Digest != a.final.Digest {
			broken = append(broken, Violation{"P1", fmt.Sprintf("key %s (%s) was answered %d %s %s, and again at %s %d %s %s",
				at.Key, at.Op, a.final.Status, a.final.Problem, a.final.Digest, at.End, at.Status, at.Problem, at.Digest)})
		}
	}
	return asked, broken
}

// checkEffects is P1: an order per key that was answered so, none for a key that was refused, and no order twice.
func checkEffects(asked map[string]*asking, t Truth) (broken []Violation) {
	say := func(format string, args ...any) {
		broken = append(broken, Violation{"P1", fmt.Sprintf(format, args...)})
	}
	byKey := map[string][]Order{}
	for _, o := range t.Orders {
		byKey[o.Key] = append(byKey[o.Key], o)
	}
	for key, orders := range byKey {
		a := asked[key]
		switch {
		case a == nil || a.op != Place:
			say("order %s is of key %q, which nobody used for one", orders[0].ID, key)
		case len(orders) > 1:
			say("key %s has %d orders: %s and %s", key, len(orders), orders[0].ID, orders[1].ID)
		case a.settled && !a.final.OK():
			say("key %s was refused (%d %s) and there is order %s", key, a.final.Status, a.final.Problem, orders[0].ID)
		case a.settled && a.final.Made != orders[0].ID:
			say("key %s was answered with order %s and has order %s", key, a.final.Made, orders[0].ID)
		case !sameLines(a.lines, orders[0].Lines):
			say("order %s has lines %v and was asked for with %v", orders[0].ID, orders[0].Lines, a.lines)
		}
	}
	cancelled := map[string]string{} // order: key
	for key, a := range asked {
		switch {
		case !a.settled || !a.final.OK():
		case a.op == Place && len(byKey[key]) == 0:
			say("key %s was answered with order %s, which does not exist", key, a.final.Made)
		case a.op == Cancel:
			if o, ok := orderByID(t, a.of); !ok || o.Status != "Cancelled" {
				say("order %s was cancelled by key %s and is %q", a.of, key, o.Status)
			}
			if other := cancelled[a.of]; other != "" {
				say("order %s was cancelled by key %s and by key %s", a.of, other, key)
			}
			cancelled[a.of] = key
		}
	}
	sortViolations(broken)
	return broken
}

// checkLedger is P2: no unit sold twice and none lost, by the database's own books and by the clients'.
func checkLedger(h History, asked map[string]*asking, t Truth) (broken []Violation) {
	say := func(format string, args ...any) {
		broken = append(broken, Violation{"P2", fmt.Sprintf(format, args...)})
	}
	sold := map[string]int{}
	for _, o := range t.Orders {
		if o.Status == "Cancelled" {
			continue
		}
		for _, l := range o.Lines {
			sold[l.Product] += l.Quantity
		}
	}
	added, open := map[string]int{}, map[string]int{}
	for _, a := range asked {
		if a.op != Stock {
			continue
		}
		for _, l := range a.lines {
			if !a.settled {
				open[l.Product] += l.Quantity
			} else if a.final.OK() {
				added[l.Product] += l.Quantity
			}
		}
	}
	for product, stock := range h.Run.Stock {
		l, ok := t.Stock[product]
		switch {
		case !ok:
			say("product %s is gone", product)
		case l.Available < 0:
			say("product %s has %d units left", product, l.Available)
		case l.Initial != l.Available+l.Sold:
			say("product %s had %d units: %d are left and %d sold", product, l.Initial, l.Available, l.Sold)
		case l.Sold != sold[product]:
			say("product %s: the books say %d sold, the orders %d", product, l.Sold, sold[product])
		case l.Initial < stock+added[product] || l.Initial > stock+added[product]+open[product]:
			say("product %s has got %d units, and its clients put in %d to %d", product, l.Initial, stock+added[product], stock+added[product]+open[product])
		}
	}
	sortViolations(broken)
	return broken
}

// checkCarts proves that the last quantity which was set is in the cart. A client changes its own cart, one request after
// the other, so that what is there must be of the last one that was settled, or of one after it.
func checkCarts(asked map[string]*asking, t Truth) (broken []Violation) {
	type item struct{ cart, product string }
	last := map[item][]*asking{}
	for _, a := range asked {
		if a.op == SetCart {
			i := item{a.of, a.lines[0].Product}
			last[i] = append(last[i], a)
		}
	}
	for i, list := range last {
		slices.SortFunc(list, func(a, b *asking) int { return cmp.Compare(a.begin, b.begin) })
		allowed := map[int]bool{0: true} // nothing set yet
		for _, a := range list {
			if a.settled && a.final.OK() {
				clear(allowed)
			}
			if !a.settled || a.final.OK() {
				allowed[a.lines[0].Quantity] = true
			}
		}
		has := 0
		for _, l := range t.Carts[i.cart] {
			if l.Product == i.product {
				has = l.Quantity
			}
		}
		if !allowed[has] {
			broken = append(broken, Violation{"carts", fmt.Sprintf("cart %s has %d of product %s; the last that was set is one of %v", i.cart, has, i.product, slices.Sorted(maps.Keys(allowed)))})
		}
	}
	sortViolations(broken)
	return broken
}

// checkEvents is P3: what was stored came on the topic and is in the feed, each in its aggregate's order.
func checkEvents(t Truth) (broken []Violation) {
	say := func(format string, args ...any) {
		broken = append(broken, Violation{"P3", fmt.Sprintf(format, args...)})
	}
	stored := map[string]Event{}
	aggregates := map[string][]int64{}
	for _, e := range t.Outbox {
		stored[e.ID] = e
		aggregates[e.Aggregate] = append(aggregates[e.Aggregate], e.Sequence)
	}
	for aggregate, list := range aggregates {
		slices.Sort(list)
		if len(slices.Compact(slices.Clone(list))) != len(list) {
			say("aggregate %s has two events with one sequence: %v", aggregate, list)
		}
	}
	if t.Unsent > 0 || t.Parked > 0 {
		say("%d events are not sent and %d parked", t.Unsent, t.Parked)
	}
	for _, o := range t.Orders {
		if len(aggregates[o.ID]) == 0 {
			say("order %s has no event", o.ID)
		}
		if o.Status == "Cancelled" && len(aggregates[o.ID]) < 2 {
			say("order %s was cancelled without an event", o.ID)
		}
	}
	for name, list := range map[string][]Event{"topic": t.Topic, "feed": t.Feed} {
		seen, last := map[string]bool{}, map[string]int64{}
		for _, e := range list {
			if seen[e.ID] {
				if name == "feed" {
					say("event %s is in the feed twice", e.ID)
				}
				continue
			}
			seen[e.ID] = true
			if was, ok := stored[e.ID]; !ok || was != e {
				say("%s: event %+v was stored as %+v", name, e, was)
			}
			if e.Sequence <= last[e.Aggregate] {
				say("%s: event %s, number %d of %s, came after number %d", name, e.ID, e.Sequence, e.Aggregate, last[e.Aggregate])
			}
			last[e.Aggregate] = max(last[e.Aggregate], e.Sequence)
		}
		lost := 0
		for id := range stored {
			if !seen[id] {
				if lost++; lost <= 3 {
					say("%s: event %s is missing", name, id)
				}
			}
		}
		if lost > 3 {
			say("%s: %d events are missing", name, lost)
		}
	}
	sortViolations(broken)
	return broken
}

// checkDeliveries is P4: each event is at each endpoint, or dead there for all to see.
func checkDeliveries(t Truth) (broken []Violation) {
	say := func(format string, args ...any) {
		broken = append(broken, Violation{"P4", fmt.Sprintf(format, args...)})
	}
	status := map[[2]string]string{}
	for _, d := range t.Deliveries {
		status[[2]string{d.Event, d.Endpoint}] = d.Status
		if d.Counted > 1 {
			say("event %s was delivered to endpoint %s by %d attempts that all counted: a lease without a fence", d.Event, d.Endpoint, d.Counted)
		}
	}
	missing := 0
	for _, endpoint := range t.Endpoints {
		for _, e := range t.Outbox {
			switch s := status[[2]string{e.ID, endpoint}]; {
			case s == "dead":
			case s != "succeeded":
				if missing++; missing <= 3 {
					say("event %s (%s) at endpoint %s is %q", e.ID, e.Type, endpoint, s)
				}
			case !t.Hooks[e.ID]:
				say("event %s counts as delivered to %s, which never answered it well", e.ID, endpoint)
			}
		}
	}
	if missing > 3 {
		say("%d deliveries have no end", missing)
	}
	sortViolations(broken)
	return broken
}

func orderByID(t Truth, id string) (Order, bool) {
	i, ok := slices.BinarySearchFunc(t.Orders, id, func(o Order, id string) int { return cmp.Compare(o.ID, id) })
	if !ok {
		return Order{}, false
	}
	return t.Orders[i], true
}

// sameLines compares lines whatever their order.
func sameLines(a, b []Line) bool {
	sorted := func(list []Line) []Line {
		list = slices.Clone(list)
		slices.SortFunc(list, func(a, b Line) int { return cmp.Compare(a.Product, b.Product) })
		return list
	}
	return slices.Equal(sorted(a), sorted(b))
}

func sortViolations(list []Violation) {
	slices.SortFunc(list, func(a, b Violation) int { return cmp.Compare(a.What, b.What) })
}

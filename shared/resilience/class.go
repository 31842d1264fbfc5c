// Package resilience decides how many requests are worked on at once, and whose turn it is when there are more.
//
// Beyond what the machine can do, each further request only makes all of them slower, until every client has given
// up on an answer that is still being made. The Limiter keeps the number of requests in flight where their latency
// stays near a target: it lowers the limit when work takes longer, and raises it while work is fast and the limit is in
// use. Who finds no room waits a moment, and is refused while its client can still do something else.
//
// Read Limiter first, then wait.go for who waits and who is next.
package resilience

// Class is a kind of request. When there is not room for all, the classes are served in the order of the constants.
type Class uint8

// The classes.
const (
	Checkout Class = iota // what ends in an order
	Browse                // what may end in an order: the catalog, lists
	Rest                  // management: webhooks, operators
	classes  = 3
)

// Names are the classes as metrics label them.
var names = [classes]string{"checkout", "browse", "rest"}

// String implements fmt.Stringer.
func (c Class) String() string { return names[c] }

// Shares of the limit, in percent. Browse and rest together leave a reserve that only a checkout may enter, so that
// the first order after a quiet minute does not wait behind a crowd of readers. Checkout and rest together leave a small
// one for browse: while PostgreSQL hangs, what needs it holds its permits for seconds, and cached pages still go out.
const (
	browseAndRest   = 70
	checkoutAndRest = 95
	restAlone       = 25
)

// share is a part of the limit, never nothing.
func share(limit, percent int) int { return max(1, limit*percent/100) }

// most is how many of a class can be in flight when nobody else is.
func most(c Class, limit int) int {
	switch c {
	case Checkout:
		return share(limit, checkoutAndRest)
	case Browse:
		return share(limit, browseAndRest)
	default:
		return share(limit, restAlone)
	}
}

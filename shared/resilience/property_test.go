package resilience

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// client is one request of the property test.
type client struct {
	class  Class
	came   time.Time
	leave  context.CancelFunc
	done   chan error
	inside bool
}

// Whatever comes, leaves and takes long: nobody is let in above the limit or a share, nobody waits while there is room or beyond
// the budget, and in the end all permits are back.
func TestPermitsAreNeitherLostNorMade(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		// Not t itself, whose deadline must not be asked for in a bubble.
		rapid.Check(struct{ rapid.TB }{t}, func(rt *rapid.T) {
			l := limiter(t, 4, 20, 8)
			var clients []*client
			before := 0
			settle := func() {
				synctest.Wait()
				l.mu.Lock()
				defer l.mu.Unlock()
				var inside, waiting [classes]int
				var left []*client
				for _, c := range clients {
					if !c.inside {
						select {
						case err := <-c.done:
							if err != nil {
								require.ErrorIs(rt, err, ErrRefused)
								c.leave()
								continue
							}
							c.inside = true
						default:
							waiting[c.class]++
							require.Less(rt, time.Since(c.came), budget)
						}
					}
					if c.inside {
						inside[c.class]++
					}
					left = append(left, c)
				}
				clients = left
				require.Equal(rt, inside, l.inFlight)
				for c := range Class(classes) {
					require.Equal(rt, waiting[c], l.waiting[c].Len())
					require.False(rt, waiting[c] > 0 && l.open(c), "%s waits in front of an open door", c)
				}
				require.LessOrEqual(rt, l.total(), max(before, l.limit), "the limit may fall below what is in flight, and lets nobody in then")
				require.GreaterOrEqual(rt, l.limit, 4)
				require.LessOrEqual(rt, l.limit, 20)
				before = l.total()
			}
			out := func(c *client) {
				if c.inside {
					l.Leave(c.class, time.Since(c.came))
					c.inside = false
					c.done <- ErrRefused // it is gone
				}
				c.leave()
				settle()
			}
			somebody := func() *client {
				if len(clients) == 0 {
					rt.Skip("nobody is there")
				}
				return rapid.SampledFrom(clients).Draw(rt, "client")
			}
			rt.Repeat(map[string]func(*rapid.T){
				"enter": func(rt *rapid.T) {
					for range rapid.IntRange(1, 8).Draw(rt, "clients") {
						ctx, leave := context.WithCancel(t.Context())
						c := &client{class: Class(rapid.IntRange(0, classes-1).Draw(rt, "class")), came: time.Now(), leave: leave, done: make(chan error, 1)}
						clients = append(clients, c)
						go func() { c.done <- l.Enter(ctx, c.class) }()
						settle()
					}
				},
				"leave": func(*rapid.T) { out(somebody()) },
				"pass": func(rt *rapid.T) {
					time.Sleep(time.Duration(rapid.IntRange(0, 150).Draw(rt, "ms")) * time.Millisecond)
					settle()
				},
			})
			for len(clients) > 0 {
				out(clients[0])
			}
			require.Zero(rt, l.total())
		})
	})
}

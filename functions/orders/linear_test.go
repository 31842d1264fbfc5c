package orders_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/tests/kit"
)

// stockCall is what a client did: order units, or cancel one of the orders that were placed before.
type stockCall struct {
	cancel bool
	order  int // which one, for a cancellation
	units  int
}

type stockReply struct {
	ok   bool
	left int // what a refusal said is available
}

// shopState is the product's stock and, a bit each, the orders that are cancelled.
type shopState struct {
	left int
	gone [2]uint64
}

// stockModel is one call at a time: units go when there are enough, and come back with the first cancellation.
func stockModel(initial int) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return shopState{left: initial} },
		Step: func(state, input, output any) (bool, any) {
			s, in, out := state.(shopState), input.(stockCall), output.(stockReply)
			word, bit := &s.gone[in.order/64], uint64(1)<<(in.order%64)
			switch {
			case in.cancel && *word&bit != 0:
				return !out.ok, s
			case in.cancel:
				*word |= bit
				s.left += in.units
				return out.ok, s
			case out.ok:
				s.left -= in.units
				return s.left >= 0, s
			default:
				return s.left < in.units && s.left == out.left, s
			}
		},
		Equal:             func(a, b any) bool { return a == b },
		DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v -> %+v", in, out) },
	}
}

// history is what the clients did, and the orders that they know of.
type history struct {
	mu    sync.Mutex
	calls []porcupine.Operation
	paths []string
	units []int
}

// some is an order that was placed before, by whomever.
func (h *history) some() (order int, path string, units int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.paths) == 0 {
		return -1, "", 0
	}
	order = len(h.paths) - 1 - rand.IntN(min(len(h.paths), 4)) // the latest, so that some meet
	return order, h.paths[order], h.units[order]
}

func (h *history) add(op porcupine.Operation, path string, units int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, op)
	if path != "" {
		h.paths, h.units = append(h.paths, path), append(h.units, units)
	}
}

// TestOrdersAreLinearizable: customers of two processes order one product and cancel orders, their own and each
// other's, at the same time. There must be an order in which the same would have happened one after the other: with
// every refusal telling what was left then, and one cancellation of each order.
func TestOrdersAreLinearizable(t *testing.T) {
	t.Parallel()
	first := open(t)
	processes := []*shop{first, first.sibling(t)}
	const stock, clients, each = 20, 8, 12
	product := first.Product(t, stock)
	admin := first.Token(t, "boss", kit.Everything, "admin")
	var (
		done    history
		working sync.WaitGroup
	)
	began := time.Now()
	for c := range clients {
		s := processes[c%len(processes)]
		name := fmt.Sprint("client-", c)
		token := s.Token(t, name, kit.Everything)
		working.Go(func() {
			for range each {
				op := porcupine.Operation{ClientId: c, Call: int64(time.Since(began))}
				order, path, units := done.some()
				placed := ""
				if order >= 0 && rand.IntN(2) == 0 {
					got := s.Do(t, kit.Call{Method: http.MethodPatch, Path: path + "/cancel", Token: admin, Key: uuid.NewString(), Body: map[string]string{"reason": "no"}})
					assert.Contains(t, []int{http.StatusOK, http.StatusConflict}, got.Status, "%s", got.Body)
					op.Input, op.Output = stockCall{true, order, units}, stockReply{ok: got.Status == http.StatusOK}
				} else {
					units = 1 + rand.IntN(6)
					got := s.place(t, token, uuid.NewString(), draft(name, line{product, units, nil}))
					reply := stockReply{ok: got.Status == http.StatusCreated}
					if reply.ok {
						placed = got.Header.Get("Location")
					} else if assert.Equal(t, http.StatusConflict, got.Status, "%s", got.Body) {
						reply.left = int(got.JSON(t)["products"].([]any)[0].(map[string]any)["available"].(float64))
					}
					op.Input, op.Output = stockCall{false, 0, units}, reply
				}
				op.Return = int64(time.Since(began))
				done.add(op, placed, units)
			}
		})
	}
	working.Wait()
	require.Len(t, done.calls, clients*each)
	assert.Equal(t, porcupine.Ok, porcupine.CheckOperationsTimeout(stockModel(stock), done.calls, time.Minute))
	balanced(t, first.Database)
}

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

// stockCall is what a client did to one product's stock, and what it was told.
type stockCall struct {
	cancel bool
	units  int
}

type stockReply struct {
	ok   bool
	left int // what a refusal said is available
}

// stockModel is one order at a time: units go when there are enough, and come back with a cancellation.
func stockModel(initial int) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return initial },
		Step: func(state, input, output any) (bool, any) {
			left, in, out := state.(int), input.(stockCall), output.(stockReply)
			switch {
			case in.cancel:
				return out.ok, left + in.units
			case out.ok:
				return left >= in.units, left - in.units
			default:
				return left < in.units && left == out.left, left
			}
		},
		Equal:             func(a, b any) bool { return a == b },
		DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v -> %+v", in, out) },
	}
}

// TestOrdersAreLinearizable: customers of two processes order and cancel one product at the same time. There must be
// an order in which the same would have happened one after the other, with every refusal telling what was left then.
func TestOrdersAreLinearizable(t *testing.T) {
	t.Parallel()
	first := open(t)
	processes := []*shop{first, first.sibling(t)}
	const stock, clients, each = 20, 8, 12
	product := first.Product(t, stock)
	var (
		mu      sync.Mutex
		history []porcupine.Operation
		working sync.WaitGroup
	)
	began := time.Now()
	for c := range clients {
		s := processes[c%len(processes)]
		name := fmt.Sprint("client-", c)
		token := s.Token(t, name, kit.Everything)
		working.Go(func() {
			var mine []struct {
				path  string
				units int
			}
			for range each {
				op := porcupine.Operation{ClientId: c, Call: int64(time.Since(began))}
				if len(mine) > 0 && rand.IntN(3) == 0 {
					o := mine[0]
					mine = mine[1:]
					got := s.Do(t, kit.Call{Method: http.MethodPatch, Path: o.path + "/cancel", Token: token, Key: uuid.NewString(), Body: map[string]string{"reason": "no"}})
					op.Input, op.Output = stockCall{true, o.units}, stockReply{ok: got.Status == http.StatusOK}
				} else {
					units := 1 + rand.IntN(6)
					got := s.place(t, token, uuid.NewString(), draft(name, line{product, units, nil}))
					reply := stockReply{ok: got.Status == http.StatusCreated}
					if reply.ok {
						mine = append(mine, struct {
							path  string
							units int
						}{got.Header.Get("Location"), units})
					} else if assert.Equal(t, http.StatusConflict, got.Status, "%s", got.Body) {
						reply.left = int(got.JSON(t)["products"].([]any)[0].(map[string]any)["available"].(float64))
					}
					op.Input, op.Output = stockCall{false, units}, reply
				}
				op.Return = int64(time.Since(began))
				mu.Lock()
				history = append(history, op)
				mu.Unlock()
			}
		})
	}
	working.Wait()
	require.Len(t, history, clients*each)
	assert.Equal(t, porcupine.Ok, porcupine.CheckOperationsTimeout(stockModel(stock), history, time.Minute))
	balanced(t, first.Database)
}

package history

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// change is what happened to a product's stock: units taken (below 0) or put back, or a refusal that said what there was.
type change struct {
	units   int
	refused bool
	wanted  int // a refusal: how many were asked for
}

// stockModel is one change at a time.
func stockModel(initial int) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return initial },
		Step: func(state, input, output any) (bool, any) {
			left, c := state.(int), input.(change)
			if c.refused {
				said := output.(int)
				return left == said && said < c.wanted, left
			}
			return left+c.units >= 0, left + c.units
		},
		Equal: func(a, b any) bool { return a == b },
		DescribeOperation: func(input, output any) string {
			c := input.(change)
			if c.refused {
				return fmt.Sprintf("%d wanted, refused: %v left", c.wanted, output)
			}
			return fmt.Sprintf("%+d", c.units)
		},
	}
}

// checkStock proves for each product that all changes of its stock can be put in a row, each within the time in which it was
// asked for, so that each order found the units that it got and each refusal told what was left (linearizability).
// A product of which it can't be decided in time is said so: it is no proof of anything.
func checkStock(h History, asked map[string]*asking, t Truth, patience time.Duration) (broken []Violation) {
	placed := map[string]Order{} // by key
	for _, o := range t.Orders {
		placed[o.Key] = o
	}
	ops := map[string][]porcupine.Operation{}
	add := func(product string, a *asking, c change, out any) {
		end := int64(a.end)
		if !a.settled { // it happened, nobody knows when
			end = math.MaxInt64
		}
		ops[product] = append(ops[product], porcupine.Operation{ClientId: a.client, Input: c, Output: out, Call: int64(a.begin), Return: end})
	}
	for key, a := range asked {
		switch a.op {
		case Place:
			_, exists := placed[key]
			for _, l := range a.lines {
				if exists {
					add(l.Product, a, change{units: -l.Quantity}, 0)
				}
			}
			if a.settled && a.final.Problem == "sold-out" {
				for _, s := range a.final.Short {
					for _, l := range a.lines {
						if l.Product == s.Product {
							add(l.Product, a, change{refused: true, wanted: l.Quantity}, s.Available)
						}
					}
				}
			}
		case Cancel:
			if !a.effect(t) {
				continue
			}
			if o, ok := orderByID(t, a.of); ok {
				for _, l := range o.Lines {
					add(l.Product, a, change{units: l.Quantity}, 0)
				}
			}
		case Stock:
			if a.effect(t) {
				for _, l := range a.lines {
					add(l.Product, a, change{units: l.Quantity}, 0)
				}
			}
		case Price, SetCart:
		}
	}
	products := slices.Sorted(maps.Keys(ops))
	var mu sync.Mutex
	var group sync.WaitGroup
	slots := make(chan struct{}, runtime.NumCPU())
	for _, product := range products {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			list := ops[product]
			slices.SortFunc(list, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
			verdict := porcupine.CheckOperationsTimeout(stockModel(h.Run.Stock[product]), list, patience)
			mu.Lock()
			defer mu.Unlock()
			switch verdict {
			case porcupine.Ok:
			case porcupine.Illegal:
				broken = append(broken, Violation{"P2", fmt.Sprintf("the %d changes of product %s's stock can't be put in any order that explains the answers", len(list), product)})
			case porcupine.Unknown:
				broken = append(broken, Violation{undecided, fmt.Sprintf("the %d changes of product %s's stock: no order found in %s, and no proof that there is none", len(list), product, patience)})
			}
		})
	}
	group.Wait()
	slices.SortFunc(broken, func(a, b Violation) int { return cmp.Compare(a.What, b.What) })
	return broken
}

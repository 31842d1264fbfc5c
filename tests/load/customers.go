package main

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/company/order-catalog-service/infra/local/issuer"
)

// customers are who orders: each has a token. Many of them, since a shop's load comes from many, each with a quota.
type customers struct {
	issuer *issuer.Issuer
	count  int
	tokens [][]byte
	signed time.Time
}

// tokenLife is when tokens are signed anew: the issuer's last for 15 minutes, and no phase for more than five.
const tokenLife = 8 * time.Minute

// customerLength is the length of a customer's id.
const customerLength = len("customer-00000000")

// appendCustomer appends the id of a customer, of a fixed length.
func appendCustomer(b []byte, number int) []byte {
	b = append(b, "customer-"...)
	for unit := 10_000_000; unit > 0; unit /= 10 {
		b = append(b, byte('0'+number/unit%10))
	}
	return b
}

// sign gives everybody a token, unless theirs are young.
func (c *customers) sign() error {
	if time.Since(c.signed) < tokenLife {
		return nil
	}
	signed, tokens := time.Now(), make([][]byte, c.count)
	var next atomic.Int64
	var wg sync.WaitGroup
	failures := make([]error, runtime.NumCPU())
	for i := range failures {
		wg.Go(func() {
			for n := int(next.Add(1)) - 1; n < c.count; n = int(next.Add(1)) - 1 {
				token, err := c.issuer.Token(string(appendCustomer(nil, n)), "catalog:read order:read order:write")
				if err != nil {
					failures[i] = err
					return
				}
				tokens[n] = []byte(token)
			}
		})
	}
	wg.Wait()
	for _, err := range failures {
		if err != nil {
			return fmt.Errorf("signing tokens: %w", err)
		}
	}
	c.tokens, c.signed = tokens, signed
	return nil
}

func (c *customers) token(number int) []byte { return c.tokens[number] }

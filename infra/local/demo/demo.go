// Package demo makes the demo catalog: a thousand believable products, the same ones every time, so that a README
// can name one.
package demo

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/company/order-catalog-service/functions/catalog"
	"github.com/company/order-catalog-service/shared/money"
)

// FirstID is the id of the first product, which is always in stock.
const FirstID = "018cc251-f400-7000-8000-000000000000"

// born is when the products' ids say they were made.
var born = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

// Products are the demo catalog: every item of every category in each of its lines.
func Products() ([]catalog.Row, error) {
	var rows []catalog.Row
	random := generator(20241129)
	for _, c := range categories {
		for l, line := range c.lines {
			for i, item := range c.items {
				name, cents, _ := strings.Cut(item, "=")
				var base int64
				if _, err := fmt.Sscan(cents, &base); err != nil {
					return nil, fmt.Errorf("demo product %q: %w", item, err)
				}
				// Lines differ in price by about a third from the cheapest to the dearest; prices end in 9.
				minor := (base*(86+int64(l)*8)/100+int64(random()%5)*10)/10*10 + 9
				price, err := money.FromMinor(minor, "USD")
				if err != nil {
					return nil, fmt.Errorf("demo product %q: %w", item, err)
				}
				n := len(rows)
				rows = append(rows, catalog.Row{
					ID: id(n), SKU: fmt.Sprintf("%s-%02d%02d", c.code, l+1, i+1), Name: line + " " + name, Category: c.name,
					Description: describe(c, line, name, random()), Price: price, Stock: stock(n, random()),
				})
			}
		}
	}
	return rows, nil
}

// id is a UUIDv7 with a fixed time and the product's number.
func id(n int) uuid.UUID {
	var u uuid.UUID
	ms := uint64(born.UnixMilli())
	binary.BigEndian.PutUint64(u[:8], ms<<16|0x7000)
	binary.BigEndian.PutUint64(u[8:], 1<<63|uint64(n)) //nolint:gosec // not negative
	return u
}

// stock is nothing for one product in twenty-five, a handful for one in ten, else plenty.
func stock(n int, r uint64) int64 {
	switch {
	case n == 0:
		return 100_000
	case r%25 == 0:
		return 0
	case r%10 == 1:
		return int64(r/100%9) + 1
	default:
		return int64(r/100%4000) + 200
	}
}

func describe(c category, line, item string, r uint64) string {
	about := c.about[r%uint64(len(c.about))]
	why := c.why[r/7%uint64(len(c.why))]
	return fmt.Sprintf("%s from the %s range: %s. %s", item, line, about, why)
}

// generator is splitmix64: its own, as a library's numbers may change with its version.
func generator(seed uint64) func() uint64 {
	return func() uint64 {
		seed += 0x9e3779b97f4a7c15
		z := seed
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		return z ^ z>>31
	}
}

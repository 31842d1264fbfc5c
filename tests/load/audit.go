package main

import (
	"context"
	"fmt"
)

// audit compares the books with what was answered.
func (s *stack) audit(ctx context.Context) error {
	var orders, keys, wrong int64
	err := s.db.QueryRow(ctx, `SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM idempotency_keys WHERE status = 201),
		(SELECT count(*) FROM stock_ledger WHERE initial <> available + sold)`).Scan(&orders, &keys, &wrong)
	if err != nil {
		return fmt.Errorf("checking the books: %w", err)
	}
	if wrong > 0 || orders != keys || orders != s.books.accepted.Load() {
		return fmt.Errorf("the books are wrong: %d products with stock lost or invented; %d orders, %d keys, %d accepted",
			wrong, orders, keys, s.books.accepted.Load())
	}
	fmt.Fprintf(s.out, "\nThe books hold: %d orders accepted, stored and keyed once each; stock_ledger is right for every product.\n", orders)
	return nil
}

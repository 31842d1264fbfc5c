package orders

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/company/order-catalog-service/shared/postgres"
)

const (
	// claimCheckSQL has one of many processes look, and that not too often.
	claimCheckSQL = `/* Orders.ClaimBooks */
INSERT INTO ops_checks (name, checked_at) VALUES ('books', now())
ON CONFLICT (name) DO UPDATE SET checked_at = now() WHERE ops_checks.checked_at <= now() - $1::interval
RETURNING true`

	// checkTimeSQL is room for a look at every line that was ever sold, and no waiting for another who claims; it belongs to
	// its transaction only.
	checkTimeSQL = `/* Orders.BooksTime */ SELECT set_config('statement_timeout', '60s', true), set_config('lock_timeout', '100ms', true)`

	// booksSQL is one snapshot: orders that commit meanwhile are in all of it or in none.
	booksSQL = `/* Orders.Books */
SELECT count(*) FILTER (WHERE available + sold > initial), count(*) FILTER (WHERE available + sold < initial),
       COALESCE((array_agg(product_id::text ORDER BY product_id))[1:10], '{}')
FROM stock_ledger WHERE initial <> available + sold`
)

var (
	tooMany = metric.WithAttributeSet(attribute.NewSet(attribute.String("kind", "oversold")))
	tooFew  = metric.WithAttributeSet(attribute.NewSet(attribute.String("kind", "lost")))
)

// CheckBooks looks whether initial = available + sold holds for every product, unless some process did so less than every
// ago, and says how many products it found wrong. It reads every order line there is: a second for a million orders, once
// in a while, and never in anybody's way.
func (o *Orders) CheckBooks(ctx context.Context, pool *postgres.Pool, every time.Duration) (wrong int, err error) {
	var oversold, lost int64
	var which []string
	// The claim is committed first: a look that takes too long is not tried again each time somebody comes by.
	err = pool.Tx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, checkTimeSQL); err != nil {
			return err
		}
		var mine bool
		return tx.QueryRow(ctx, claimCheckSQL, every).Scan(&mine)
	})
	switch code := postgres.Code(err); {
	case errors.Is(err, pgx.ErrNoRows), code == "55P03":
		return 0, nil // it was done a while ago, or is being done
	case err != nil:
		return 0, fmt.Errorf("checking the books: %w", err)
	}
	err = pool.Tx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, checkTimeSQL); err != nil {
			return err
		}
		return tx.QueryRow(ctx, booksSQL).Scan(&oversold, &lost, &which)
	})
	if err != nil {
		return 0, fmt.Errorf("checking the books: %w", err)
	}
	if oversold+lost > 0 {
		o.oversold.Add(ctx, oversold, tooMany)
		o.oversold.Add(ctx, lost, tooFew)
		o.Logger.ErrorContext(ctx, "the books are wrong", "oversold", oversold, "lost", lost, "products", which)
	}
	return int(oversold + lost), nil
}

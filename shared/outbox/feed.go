package outbox

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/shared/postgres"
)

const (
	feedLockSQL = `/* Feed.Lock */ SELECT pg_try_advisory_xact_lock(7071, 5)`

	// Up to a thousand sent events, in the order of their key, so that an event is never numbered before an earlier
	// one of its aggregate. They are taken where they lie, as nobody moves them: by their key the planner, who remembers
	// the table as empty, would compare each of the thousand with every row there is.
	takeSentSQL = `/* Feed.Take */
DELETE FROM outbox_sent WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM outbox_sent ORDER BY aggregate_id, sequence LIMIT 1000))
RETURNING id`

	// The counter's row stays locked until the commit, so no smaller number becomes visible after a larger one.
	// The ids come as an argument, so that the planner knows how few they are and looks them up by index, and with their
	// bounds, so that it looks on their days only.
	numberSQL = `/* Feed.Number */
WITH redriven AS (
    DELETE FROM outbox_parked WHERE sent_at IS NOT NULL RETURNING id, type, aggregate_id, sequence, payload
), happened AS (
    SELECT id, type, aggregate_id, sequence, payload FROM outbox WHERE id = ANY ($1) AND id BETWEEN $2 AND $3
    UNION ALL SELECT * FROM redriven
), counter AS (
    UPDATE feed_counter SET last = last + (SELECT count(*) FROM happened)
    WHERE EXISTS (SELECT FROM happened)
    RETURNING last - (SELECT count(*) FROM happened) AS base
)
INSERT INTO feed (number, id, type, aggregate_id, payload)
SELECT base + row_number() OVER (ORDER BY aggregate_id, sequence), id, type, aggregate_id, payload FROM happened, counter`
)

// number gives feed numbers to sent events. Only one process at a time does; held says that another one is at it.
func (d *Drain) number(ctx context.Context) (n int64, held bool, err error) {
	err = d.pool.Tx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, postgres.PlanOnceSQL); err != nil {
			return err
		}
		var mine bool
		if err := tx.QueryRow(ctx, feedLockSQL).Scan(&mine); err != nil {
			return err
		}
		if held = !mine; held {
			return nil
		}
		rows, err := tx.Query(ctx, takeSentSQL)
		if err != nil {
			return err
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		if err != nil {
			return err
		}
		least, greatest := bounds(ids)
		done, err := tx.Exec(ctx, numberSQL, ids, least, greatest)
		n = done.RowsAffected()
		return err
	})
	if err != nil {
		return 0, false, fmt.Errorf("numbering events for the feed: %w", err)
	}
	return n, held, nil
}

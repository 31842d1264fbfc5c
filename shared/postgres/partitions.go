package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const partitionsSQL = `SELECT ensure_partitions() UNION ALL SELECT ensure_feed_partitions() UNION ALL SELECT ensure_webhook_partitions()
	UNION ALL SELECT ensure_audit_partitions()`

// EnsurePartitions makes the partitions of the days ahead and names those it made. Housekeeping calls it; it
// gives up at once on a busy lock, since the partitions it makes are days away.
func EnsurePartitions(ctx context.Context, pool *Pool) (made []string, err error) {
	err = pool.once(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, `/* EnsurePartitions */ `+partitionsSQL)
		if err != nil {
			return err
		}
		made, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("making partitions: %w", err)
	}
	return made, nil
}

// DropPublished drops at most one partition whose events were sent long ago, one week of webhook deliveries that ended
// long ago and one month of the audit log that is past its time, and names them. It gives up at once on a busy lock; housekeeping calls it again.
func DropPublished(ctx context.Context, pool *Pool) (dropped []string, err error) {
	err = pool.Do(ctx, func(conn *pgx.Conn) error {
		// A statement each, so that none holds its lock while it waits for another's.
		for _, sql := range []string{`/* DropPublished */ SELECT drop_published()`, `/* DropWebhooks */ SELECT drop_webhook_history()`, `/* DropAudit */ SELECT drop_audit_history()`} {
			rows, err := conn.Query(ctx, sql)
			if err != nil {
				return err
			}
			names, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil {
				return err
			}
			dropped = append(dropped, names...)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("dropping sent events: %w", err)
	}
	return dropped, nil
}

// How often, and how long apart, a write without a partition is tried: while one connection makes partitions,
// others that ask for them are sent away, and any may find the table's lock busy for 50 ms.
const (
	fittingTries = 10
	fittingPause = 50 * time.Millisecond
)

// fitting runs write, and when it failed because the time of a row has no partition, makes partitions and runs it
// again. Housekeeping keeps them days ahead; this is for the day after it stood still, and for a database whose
// clock jumped in a failover: an order must not fail for that.
func (p *Pool) fitting(ctx context.Context, write func() error) error {
	for try := 1; ; try++ {
		err := write()
		if try == fittingTries || !lacksPartition(err) {
			return err
		}
		if made, _ := EnsurePartitions(ctx, p); len(made) > 0 {
			continue // and if not, somebody else is at it
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(fittingPause):
		}
	}
}

// lacksPartition tells whether a row met no partition. Its SQLSTATE is that of any violated CHECK; the server's
// own name for the place tells them apart, in every language that messages may be in.
func lacksPartition(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "23514" && pg.Routine == "ExecFindPartition"
}

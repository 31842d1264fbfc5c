package webhooks

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/shared/rest"
)

const (
	// scanned bounds how many events a page with a filter looks at: it may come back empty and still go on.
	scanned = 10_000
	// feedBytes bounds a page: a hundred large orders are a page, a hundred thousand lines aren't.
	feedBytes = 4 << 20
)

// Feed is a page of the feed; its events are the published bytes.
type Feed struct {
	Events []json.RawMessage `json:"events" doc:"CloudEvents, in the order in which they were published"`
	Next   string            `json:"next" doc:"The next page's since"`
}

type feedInput struct {
	Since string   `query:"since" maxLength:"64" doc:"next of the page before; absent or 0 starts at the oldest event"`
	Types []string `query:"types" maxItems:"20" doc:"Only these types, separated by commas"`
	Limit int      `query:"limit" minimum:"1" maximum:"500" default:"100"`
}

// feed reads what happened after since. Numbers become visible in their order (one assigner, which holds the
// counter's row until it commits), so what is not there below a number that was read will never be.
func (w *Webhooks) feed(ctx context.Context, in *feedInput) (rest.Answer, error) {
	var page []byte
	err := w.Pools.Reads.Do(ctx, func(conn *pgx.Conn) error {
		// One snapshot for bounds and events: what the assigner commits in between belongs to the next page.
		return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) (err error) {
			page, err = w.readFeed(ctx, tx, in)
			return err
		})
	})
	if err != nil {
		return rest.Answer{}, err
	}
	return rest.Answer{Status: http.StatusOK, ContentType: "application/json", ETag: rest.ETag(page), CacheControl: private, Body: page}, nil
}

func (w *Webhooks) readFeed(ctx context.Context, tx pgx.Tx, in *feedInput) ([]byte, error) {
	const bounds = `/* Feed.Bounds */
SELECT last, COALESCE((SELECT number FROM feed ORDER BY number LIMIT 1), last + 1) FROM feed_counter`
	var last, oldest int64
	if err := tx.QueryRow(ctx, bounds).Scan(&last, &oldest); err != nil {
		return nil, fmt.Errorf("reading the feed's bounds: %w", err)
	}
	timeline := w.Pools.Timeline()
	since, err := parseSince(in.Since, timeline, last, oldest)
	if err != nil {
		return nil, err
	}
	if err := checkTypes(in.Types); err != nil {
		return nil, rest.NewProblem(rest.Malformed, "types names an event type that there is not.")
	}
	all := len(in.Types) == 0
	for _, t := range in.Types {
		all = all || t == everything
	}
	end := last
	if !all {
		end = min(last, since+scanned)
	}
	const sql = `/* Feed.Read */
SELECT number, payload FROM feed WHERE number > $1 AND number <= $2 AND ($3 OR type = ANY ($4)) ORDER BY number LIMIT $5`
	rows, err := tx.Query(ctx, sql, since, end, all, in.Types, in.Limit)
	if err != nil {
		return nil, fmt.Errorf("reading the feed: %w", err)
	}
	defer rows.Close()
	var (
		out  bytes.Buffer
		next int64
		n    int
	)
	out.WriteString(`{"events":[`)
	for rows.Next() && out.Len() < feedBytes {
		var payload []byte
		if err := rows.Scan(&next, &payload); err != nil {
			return nil, fmt.Errorf("reading the feed: %w", err)
		}
		if n++; n > 1 {
			out.WriteByte(',')
		}
		out.Write(payload) // as published, byte for byte
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading the feed: %w", err)
	}
	if n < in.Limit && out.Len() < feedBytes { // all up to end was looked at
		next = end
	}
	fmt.Fprintf(&out, `],"next":%q}`, place(timeline, next))
	return out.Bytes(), nil
}

// place is a place in the feed: the timeline of the database that numbered it, and the number. A replica that
// was promoted without the last writes uses their numbers again, for other events (CX-09).
func place(timeline string, number int64) string {
	return timeline + "-" + strconv.FormatInt(number, 10)
}

func parseSince(since, timeline string, last, oldest int64) (int64, error) {
	if since == "" || since == "0" {
		return oldest - 1, nil
	}
	line, digits, ok := strings.Cut(since, "-")
	number, err := strconv.ParseInt(digits, 10, 64)
	switch {
	case !ok || err != nil || number < 0 || place(line, number) != since:
		return 0, rest.NewProblem(rest.Malformed, "since is not the next of an earlier page. Leave it out to start at the oldest event.")
	case line != timeline:
		return 0, gone("The database failed over since; numbers after that may name other events.", timeline, oldest)
	case number > last:
		return 0, rest.NewProblem(rest.Malformed, "since is ahead of the feed, whose last event is %s.", place(timeline, last))
	case number < oldest-1:
		return 0, gone("Events after since are no longer kept.", timeline, oldest)
	}
	return number, nil
}

// gone tells where the reader can go on, and by that what it missed.
func gone(detail, timeline string, oldest int64) *rest.Problem {
	p := rest.NewProblem(rest.Gone, "%s Go on from oldest, and read what you need of the time before elsewhere.", detail)
	p.Extensions = map[string]any{"oldest": place(timeline, oldest-1)}
	return p
}

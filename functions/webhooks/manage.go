package webhooks

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/shared/audit"
	"github.com/company/order-catalog-service/shared/auth"
	"github.com/company/order-catalog-service/shared/egress"
	"github.com/company/order-catalog-service/shared/events"
	"github.com/company/order-catalog-service/shared/paging"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/rest"
)

const private = "private, no-store"

// create registers an endpoint. The count and the insert are under one lock per owner, or two requests at once
// would both be the last that fits.
func (w *Webhooks) create(ctx context.Context, in *registerInput) (rest.Answer, error) {
	if err := w.checkURL(in.Body.URL); err != nil {
		return rest.Answer{}, err
	}
	if err := checkTypes(in.Body.Events); err != nil {
		return rest.Answer{}, err
	}
	call := rest.From(ctx)
	key := call.Keyed()
	key.Sealed = true
	return w.Keys.Do(ctx, key, func(ctx context.Context, tx pgx.Tx) (rest.Answer, error) {
		owner := call.Caller.Key()
		var (
			now   time.Time
			count int
		)
		const lock = `/* Webhooks.LockOwner */ SELECT pg_advisory_xact_lock(7073, hashtext($1::text))`
		if _, err := tx.Exec(ctx, lock, owner); err != nil {
			return rest.Answer{}, fmt.Errorf("locking an owner's endpoints: %w", err)
		}
		const counting = `/* Webhooks.Count */ SELECT count(*), clock_timestamp() FROM webhook_endpoints WHERE owner_key = $1 AND status <> 'deleted'`
		if err := tx.QueryRow(ctx, counting, owner).Scan(&count, &now); err != nil {
			return rest.Answer{}, fmt.Errorf("counting webhook endpoints: %w", err)
		}
		if count >= MaxEndpoints {
			return w.API.Refuse(ctx, rest.NewProblem(rest.EndpointLimit, "You have %d webhook endpoints, and %d are allowed.", count, MaxEndpoints)), nil
		}
		id := postgres.NewID(now)
		sealed, secret, public := newKey(w.Box, id, in.Body.Signature)
		const insert = `/* Webhooks.Register */
INSERT INTO webhook_endpoints (id, owner_key, owner, url, events, description, customer_id, signature, secret, public_key)
VALUES ($1, $2, $3, $4, $5, $6, NULLIF($7, ''), $8, $9, NULLIF($10, ''))
RETURNING ` + columns
		rows, err := tx.Query(ctx, insert, id, owner, call.Caller.CustomerID(), in.Body.URL, unique(in.Body.Events), in.Body.Description,
			in.Body.CustomerID, in.Body.Signature, sealed, public)
		if err != nil {
			return rest.Answer{}, fmt.Errorf("registering a webhook endpoint: %w", err)
		}
		e, err := pgx.CollectExactlyOneRow(rows, scanEndpoint)
		if err != nil {
			return rest.Answer{}, fmt.Errorf("registering a webhook endpoint: %w", err)
		}
		err = audit.Write(ctx, tx, audit.Entry{
			Action: audit.EndpointRegistered, Target: id.String(),
			Details: map[string]any{"host": audit.Host(e.URL), "events": e.Events, "customerId": e.CustomerID, "signature": e.Signature},
		})
		if err != nil {
			return rest.Answer{}, err
		}
		answer, err := rest.JSON(http.StatusCreated, Registered{Endpoint: e, Secret: secret})
		answer.Location = base + "/" + id.String()
		return answer, err
	})
}

// checkURL refuses what could never be delivered to; where the name leads is decided at each attempt.
func (w *Webhooks) checkURL(raw string) error {
	err := w.Egress.CheckURL(raw)
	if err == nil {
		return nil
	}
	return rest.Invalid("/url", "%s", strings.TrimPrefix(err.Error(), egress.ErrBadURL.Error()+": "))
}

// checkTypes refuses a type that never happens: who mistyped one would wait for ever.
func checkTypes(list []string) error {
	for i, t := range list {
		if t != everything && !slices.Contains(events.Types, t) {
			return rest.Invalid("/events/"+strconv.Itoa(i), "there is no such type: want *, or some of %s", strings.Join(events.Types, ", "))
		}
	}
	return nil
}

func unique(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

type listInput struct {
	PageSize int    `query:"pageSize" minimum:"1" maximum:"100" default:"20"`
	Cursor   string `query:"cursor" maxLength:"1024" doc:"nextCursor of the page before"`
}

type position struct {
	ID uuid.UUID `json:"i"`
}

// list pages through the caller's endpoints, for an admin through all.
func (w *Webhooks) list(ctx context.Context, in *listInput) (rest.Answer, error) {
	const sql = `/* Webhooks.List */
SELECT ` + columns + ` FROM webhook_endpoints
WHERE status <> 'deleted' AND (owner_key = $1 OR $2) AND id < $3 ORDER BY id DESC LIMIT $4`
	caller := rest.From(ctx).Caller
	scope, after := paging.Scope("webhooks", caller.Key().String()), position{uuid.Max}
	if err := w.goOn(scope, in.Cursor, &after); err != nil {
		return rest.Answer{}, err
	}
	page := EndpointPage{Items: []Endpoint{}}
	err := w.Pools.Reads.Do(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, sql, caller.Key(), auth.WebhookOwn.ReachesAll(caller), after.ID, in.PageSize+1)
		if err != nil {
			return err
		}
		page.Items, err = pgx.AppendRows(page.Items, rows, scanEndpoint)
		return err
	})
	if err != nil {
		return rest.Answer{}, err
	}
	if len(page.Items) > in.PageSize {
		page.Items = page.Items[:in.PageSize]
		if page.NextCursor, err = w.Cursors.Encode(scope, position{page.Items[in.PageSize-1].ID}); err != nil {
			return rest.Answer{}, err
		}
	}
	answer, err := rest.JSON(http.StatusOK, page)
	answer.CacheControl = private
	answer.Link = paging.Link(base, url.Values{"pageSize": {strconv.Itoa(in.PageSize)}}, page.NextCursor)
	return answer, err
}

func (w *Webhooks) goOn(scope, cursor string, after *position) error {
	if cursor == "" {
		return nil
	}
	if err := w.Cursors.Decode(scope, cursor, after); err != nil {
		return rest.NewProblem(rest.Malformed, "The cursor is not one of this list. Start again without it.")
	}
	return nil
}

func (w *Webhooks) read(ctx context.Context, in *endpointInput) (rest.Answer, error) {
	var e Endpoint
	err := w.Pools.Reads.Do(ctx, func(conn *pgx.Conn) (err error) {
		e, err = visible(ctx, conn, readSQL, in.ID, rest.From(ctx).Caller)
		return err
	})
	if err != nil {
		return rest.Answer{}, err
	}
	answer, err := rest.JSON(http.StatusOK, e)
	answer.CacheControl = private
	return answer, err
}

// manage runs a keyed change of an endpoint that the caller may manage, under the endpoint's lock. Its refusals are
// answers, stored like any other.
func (w *Webhooks) manage(ctx context.Context, id uuid.UUID, sealed bool, change func(context.Context, pgx.Tx, Endpoint) (rest.Answer, error)) (rest.Answer, error) {
	call := rest.From(ctx)
	key := call.Keyed()
	key.Sealed = sealed
	return w.Keys.Do(ctx, key, func(ctx context.Context, tx pgx.Tx) (rest.Answer, error) {
		e, err := visible(ctx, tx, lockSQL, id, call.Caller)
		if err == nil {
			var answer rest.Answer
			if answer, err = change(ctx, tx, e); err == nil {
				return answer, nil
			}
		}
		var problem *rest.Problem
		if errors.As(err, &problem) {
			return w.API.Refuse(ctx, problem), nil
		}
		return rest.Answer{}, err
	})
}

// unmet asks the caller's preconditions of an endpoint as it was read under its lock.
func unmet(ctx context.Context, e Endpoint) error {
	call := rest.From(ctx)
	if !call.Conditional() {
		return nil
	}
	current, err := rest.JSON(http.StatusOK, e)
	if err != nil {
		return err
	}
	if p := call.Unmet(current.ETag, "The webhook endpoint"); p != nil {
		return p
	}
	return nil
}

// change edits an endpoint. Another URL or status is another version, with a closed circuit: what the old one did
// says nothing about it (CX-15).
func (w *Webhooks) change(ctx context.Context, in *changeEndpointInput) (rest.Answer, error) {
	if in.Body.URL != nil {
		if err := w.checkURL(*in.Body.URL); err != nil {
			return rest.Answer{}, err
		}
	}
	if in.Body.Events != nil {
		if err := checkTypes(*in.Body.Events); err != nil {
			return rest.Answer{}, err
		}
	}
	return w.manage(ctx, in.ID, false, func(ctx context.Context, tx pgx.Tx, before Endpoint) (rest.Answer, error) {
		if err := unmet(ctx, before); err != nil {
			return rest.Answer{}, err
		}
		after := before
		for _, f := range []struct{ from, to *string }{
			{in.Body.URL, &after.URL}, {in.Body.Description, &after.Description}, {in.Body.Status, &after.Status},
		} {
			if f.from != nil {
				*f.to = *f.from
			}
		}
		if in.Body.Events != nil {
			after.Events = unique(*in.Body.Events)
		}
		const update = `/* Webhooks.Change */
UPDATE webhook_endpoints SET url = $2, description = $3, events = $4, updated_at = now() WHERE id = $1 RETURNING ` + columns
		const renew = `/* Webhooks.Renew */
UPDATE webhook_endpoints SET url = $2, description = $3, events = $4, updated_at = now(), version = version + 1, status = $5,
       disabled_reason = NULLIF($6, ''), consecutive_failures = 0, failing_since = NULL, paused_until = NULL, probe_at = NULL
WHERE id = $1 RETURNING ` + columns
		sql, args := update, []any{after.ID, after.URL, after.Description, after.Events}
		if after.URL != before.URL || after.Status != before.Status {
			switch after.Status {
			case enabled:
				after.DisabledReason = ""
			case before.Status: // it stays disabled for the reason it was
			default:
				after.DisabledReason = "its owner disabled it"
			}
			sql, args = renew, append(args, after.Status, after.DisabledReason)
		}
		rows, err := tx.Query(ctx, sql, args...)
		if err != nil {
			return rest.Answer{}, fmt.Errorf("changing webhook endpoint %s: %w", in.ID, err)
		}
		e, err := pgx.CollectExactlyOneRow(rows, scanEndpoint)
		if err != nil {
			return rest.Answer{}, fmt.Errorf("changing webhook endpoint %s: %w", in.ID, err)
		}
		if e.Status == disabled && before.Status == enabled {
			if err := bury(ctx, tx, e.ID, e.DisabledReason); err != nil {
				return rest.Answer{}, err
			}
		}
		err = audit.Write(ctx, tx, audit.Entry{Action: audit.EndpointChanged, Target: e.ID.String(), Details: difference(before, e)})
		if err != nil {
			return rest.Answer{}, err
		}
		return rest.JSON(http.StatusOK, e)
	})
}

// difference is what the audit log keeps of a change: which members, and those of their values that can hold no secret.
func difference(before, after Endpoint) map[string]any {
	changed := []string{}
	for _, f := range []struct {
		name string
		same bool
	}{
		{"url", before.URL == after.URL},
		{"events", slices.Equal(before.Events, after.Events)},
		{"description", before.Description == after.Description},
		{"status", before.Status == after.Status},
	} {
		if !f.same {
			changed = append(changed, f.name)
		}
	}
	return map[string]any{"changed": changed, "host": audit.Host(after.URL), "events": after.Events, "status": after.Status}
}

// remove deletes an endpoint. The row stays without its secrets: deliveries that are pending for it end as dead,
// the first of them here and the others by the sweep.
func (w *Webhooks) remove(ctx context.Context, in *endpointInput) (rest.Answer, error) {
	return w.manage(ctx, in.ID, false, func(ctx context.Context, tx pgx.Tx, e Endpoint) (rest.Answer, error) {
		const sql = `/* Webhooks.Delete */
UPDATE webhook_endpoints SET status = 'deleted', disabled_reason = 'it was deleted', version = version + 1, updated_at = now(), secret = NULL,
       previous_secret = NULL, previous_expires_at = NULL, probe_at = NULL
WHERE id = $1`
		if err := unmet(ctx, e); err != nil {
			return rest.Answer{}, err
		}
		if _, err := tx.Exec(ctx, sql, e.ID); err != nil {
			return rest.Answer{}, fmt.Errorf("deleting webhook endpoint %s: %w", e.ID, err)
		}
		if _, err := tx.Exec(ctx, `/* Webhooks.DropReplays */ DELETE FROM webhook_replays WHERE endpoint_id = $1`, e.ID); err != nil {
			return rest.Answer{}, fmt.Errorf("deleting webhook endpoint %s: %w", e.ID, err)
		}
		err := audit.Write(ctx, tx, audit.Entry{Action: audit.EndpointDeleted, Target: e.ID.String(), Details: map[string]any{"host": audit.Host(e.URL)}})
		if err != nil {
			return rest.Answer{}, err
		}
		return rest.Answer{Status: http.StatusNoContent, Body: []byte{}}, bury(ctx, tx, e.ID, "the endpoint was deleted")
	})
}

// burySQL ends pending deliveries of an endpoint as dead, a thousand at most: the sweep goes on. What somebody has
// locked is left to the sweep as well, so that this waits for nobody and can't deadlock with a verdict.
const burySQL = `/* Webhooks.Bury */
UPDATE webhook_deliveries d SET status = 'dead', reason = left($2, 500), lease = NULL, leased_until = NULL, updated_at = now()
FROM (SELECT event_id, endpoint_id FROM webhook_deliveries WHERE endpoint_id = $1 AND status = 'pending'
      ORDER BY next_attempt_at LIMIT 1000 FOR UPDATE SKIP LOCKED) due
WHERE d.event_id = due.event_id AND d.endpoint_id = due.endpoint_id`

func bury(ctx context.Context, tx pgx.Tx, endpoint uuid.UUID, reason string) error {
	if _, err := tx.Exec(ctx, burySQL, endpoint, reason); err != nil {
		return fmt.Errorf("ending the deliveries of webhook endpoint %s: %w", endpoint, err)
	}
	return nil
}

// rotate gives an endpoint a new secret; the former one goes on signing until the overlap ends (WH-04).
func (w *Webhooks) rotate(ctx context.Context, in *rotateInput) (rest.Answer, error) {
	overlap := 24 * time.Hour
	if in.Body.OverlapSeconds != nil {
		overlap = time.Duration(*in.Body.OverlapSeconds) * time.Second
	}
	return w.manage(ctx, in.ID, true, func(ctx context.Context, tx pgx.Tx, e Endpoint) (rest.Answer, error) {
		sealed, secret, public := newKey(w.Box, e.ID, e.Signature)
		out := Rotated{Secret: secret, PublicKey: public}
		const sql = `/* Webhooks.Rotate */
UPDATE webhook_endpoints SET secret = $2, public_key = NULLIF($3, ''), version = version + 1, updated_at = now(),
       previous_secret = secret, previous_expires_at = now() + $4
WHERE id = $1 RETURNING previous_expires_at`
		if err := tx.QueryRow(ctx, sql, e.ID, sealed, public, overlap).Scan(&out.PreviousSecretExpiresAt); err != nil {
			return rest.Answer{}, fmt.Errorf("rotating the secret of webhook endpoint %s: %w", e.ID, err)
		}
		out.PreviousSecretExpiresAt = out.PreviousSecretExpiresAt.UTC()
		err := audit.Write(ctx, tx, audit.Entry{
			Action: audit.EndpointSecretRotated, Target: e.ID.String(), Details: map[string]any{"previousSecretExpiresAt": out.PreviousSecretExpiresAt},
		})
		if err != nil {
			return rest.Answer{}, err
		}
		return rest.JSON(http.StatusOK, out)
	})
}

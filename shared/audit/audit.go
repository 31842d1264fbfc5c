// Package audit writes who did what: a row in the transaction of each act that somebody may one day have to answer
// for. The row is there exactly when the act is.
//
// Write is for a transaction of its own; InsertSQL and InsertArgs are for a batch that is sent as a whole, as the
// commit lane does. The table is append-only: PostgreSQL refuses to change or delete a row, whoever asks
// (migration 00012). GET /api/v1/ops/audit shows it.
package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"

	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/trace"

	"github.com/company/order-catalog-service/shared/auth"
	"github.com/company/order-catalog-service/shared/rest"
)

// Action names an act. A new one belongs here and into the table in docs/security.md.
type Action string

// The acts.
const (
	EndpointRegistered    Action = "endpoint.registered"
	EndpointChanged       Action = "endpoint.changed"
	EndpointDeleted       Action = "endpoint.deleted"
	EndpointSecretRotated Action = "endpoint.secret_rotated"
	EndpointTested        Action = "endpoint.tested"
	EndpointReplayed      Action = "endpoint.replayed"
	OrderCancelled        Action = "order.cancelled"
	OrderConfirmed        Action = "order.confirmed"
	ProductChanged        Action = "product.changed"
	StockAdjusted         Action = "product.stock_adjusted"
	DeadLetterRedriven    Action = "dead_letter.redriven"
	DeadLetterDiscarded   Action = "dead_letter.discarded"
	ParkedReleased        Action = "parked_events.released"
	SwitchTurned          Action = "switch.turned"
	KeysRotated           Action = "keys.rotated"
)

// Command is the issuer of who acts from a shell, not with a token.
const Command = "command"

// Entry is one act. Who, Request and Trace come from the request that ctx belongs to, unless they are set.
type Entry struct {
	Who     auth.Identity
	Action  Action
	Target  string // the id of what was acted on
	Request string // X-Correlation-ID
	Trace   string // W3C trace id, "" for none
	// Details are for whoever reads it: what changed, never a secret. A webhook's URL may carry one: see Host.
	Details map[string]any
}

// By completes an entry with what is known of the request: for work that is handed to another goroutine.
func By(ctx context.Context, e Entry) Entry {
	call := rest.From(ctx)
	if e.Who.Subject == "" {
		e.Who = call.Caller
	}
	if e.Request == "" {
		e.Request = call.Correlation
	}
	if span := trace.SpanContextFromContext(ctx); e.Trace == "" && span.HasTraceID() {
		e.Trace = span.TraceID().String()
	}
	return e
}

// InsertSQL writes entries; its arguments are InsertArgs. Id and time are the database's.
const InsertSQL = `/* Audit.Insert */
INSERT INTO audit_log (issuer, subject, action, target, request, trace, details)
SELECT e.issuer, e.subject, e.action, e.target, e.request, NULLIF(e.trace, ''), e.details
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::jsonb[]) AS e (issuer, subject, action, target, request, trace, details)`

// InsertArgs encodes entries that By has completed.
func InsertArgs(list []Entry) ([]any, error) {
	var columns [6][]string
	for i := range columns {
		columns[i] = make([]string, len(list))
	}
	details := make([][]byte, len(list))
	for i, e := range list {
		for c, value := range [...]string{e.Who.Issuer, e.Who.Subject, string(e.Action), e.Target, e.Request, e.Trace} {
			columns[c][i] = value
		}
		if e.Details == nil {
			e.Details = map[string]any{}
		}
		var err error
		if details[i], err = json.Marshal(e.Details); err != nil {
			return nil, fmt.Errorf("encoding the audit entry %s: %w", e.Action, err)
		}
	}
	return []any{columns[0], columns[1], columns[2], columns[3], columns[4], columns[5], details}, nil
}

// Write writes an entry in the transaction of its act.
func Write(ctx context.Context, tx pgx.Tx, e Entry) error {
	args, err := InsertArgs([]Entry{By(ctx, e)})
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, InsertSQL, args...); err != nil {
		return fmt.Errorf("writing the audit entry %s: %w", e.Action, err)
	}
	return nil
}

// Host is what may be kept of a webhook's URL: paths, queries and user names are where people put tokens.
func Host(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Host
}

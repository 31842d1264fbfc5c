package ops

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/shared/paging"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/rest"
)

// AuditEntry is one act.
type AuditEntry struct {
	ID      uuid.UUID       `json:"id"`
	At      time.Time       `json:"at"`
	Actor   string          `json:"actor" doc:"Subject of the token that it was done with"`
	Issuer  string          `json:"issuer,omitempty" doc:"Alias of the issuer that vouched for the actor; command is somebody at a shell"`
	Action  string          `json:"action" example:"order.cancelled"`
	Target  string          `json:"target" doc:"Id of what it was done to"`
	Request string          `json:"request,omitempty" doc:"X-Correlation-ID of the request"`
	Trace   string          `json:"trace,omitempty" doc:"W3C trace id of the request"`
	Details json.RawMessage `json:"details"`
}

// AuditPage is a part of the audit log, newest first.
type AuditPage struct {
	Items      []AuditEntry `json:"items"`
	NextCursor string       `json:"nextCursor,omitempty"`
}

type auditInput struct {
	PageSize int       `query:"pageSize" minimum:"1" maximum:"100" default:"20"`
	Cursor   string    `query:"cursor" maxLength:"2048" doc:"nextCursor of the page before"`
	Actor    string    `query:"actor" maxLength:"255" doc:"Only what this subject did"`
	Action   string    `query:"action" maxLength:"100" doc:"Only acts of this name" example:"order.cancelled"`
	Target   string    `query:"target" maxLength:"255" doc:"Only what was done to this id"`
	From     time.Time `query:"from" doc:"From this time on"`
	To       time.Time `query:"to" doc:"Before this time"`
}

// filter is the input as SQL: conditions for what is given and no others, so that each mix has its own plan and
// index. Times become ids, by which the log is partitioned.
func (in *auditInput) filter(after uuid.UUID) (sql string, args []any) {
	conditions, args := []string{"id < $1"}, []any{after}
	add := func(condition string, value any) {
		args = append(args, value)
		conditions = append(conditions, condition+"$"+strconv.Itoa(len(args)))
	}
	for _, f := range []struct{ condition, value string }{
		{"subject = ", in.Actor}, {"action = ", in.Action}, {"target = ", in.Target},
	} {
		if f.value != "" {
			add(f.condition, f.value)
		}
	}
	if !in.From.IsZero() {
		add("id >= ", postgres.FirstID(in.From))
	}
	if !in.To.IsZero() {
		add("id < ", postgres.FirstID(in.To))
	}
	args = append(args, in.PageSize+1)
	return `/* Ops.Audit */
SELECT id, at, subject, issuer, action, target, request, COALESCE(trace, ''), details FROM audit_log
WHERE ` + strings.Join(conditions, " AND ") + ` ORDER BY id DESC LIMIT $` + strconv.Itoa(len(args)), args
}

// query is the input as a query string, for links.
func (in *auditInput) query() url.Values {
	q := url.Values{"pageSize": {strconv.Itoa(in.PageSize)}}
	for name, value := range map[string]string{"actor": in.Actor, "action": in.Action, "target": in.Target} {
		if value != "" {
			q.Set(name, value)
		}
	}
	for name, at := range map[string]time.Time{"from": in.From, "to": in.To} {
		if !at.IsZero() {
			q.Set(name, at.UTC().Format(time.RFC3339Nano))
		}
	}
	return q
}

func (o *Ops) audit(ctx context.Context, in *auditInput) (rest.Answer, error) {
	query := in.query()
	scope, after := paging.Scope("audit", query.Encode()), deadPosition{uuid.Max}
	if err := o.decode(scope, in.Cursor, &after); err != nil {
		return rest.Answer{}, err
	}
	sql, args := in.filter(after.ID)
	page := AuditPage{Items: []AuditEntry{}}
	err := o.Pools.Reads.Do(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e AuditEntry, err error) {
			err = row.Scan(&e.ID, &e.At, &e.Actor, &e.Issuer, &e.Action, &e.Target, &e.Request, &e.Trace, &e.Details)
			e.At = e.At.UTC()
			return e, err
		})
		page.Items = append(page.Items, list...)
		return err
	})
	if err != nil {
		return rest.Answer{}, fmt.Errorf("reading the audit log: %w", err)
	}
	if len(page.Items) > in.PageSize {
		page.Items = page.Items[:in.PageSize]
		if page.NextCursor, err = o.Cursors.Encode(scope, deadPosition{page.Items[in.PageSize-1].ID}); err != nil {
			return rest.Answer{}, err
		}
	}
	answer, err := rest.JSON(http.StatusOK, page)
	answer.CacheControl = "no-store"
	answer.Link = paging.Link(base+"/audit", query, page.NextCursor)
	return answer, err
}

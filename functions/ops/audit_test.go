package ops_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/functions/ops"
	"github.com/company/order-catalog-service/tests/kit"
)

// acted writes n acts, a day apart, the newest yesterday: by ada and eve in turn, on targets t0, t1, t2 in turn.
func (d *desk) acted(t *testing.T, n int) {
	t.Helper()
	d.Exec(t, `SELECT ensure_partition('audit_log', date_trunc('month', now() - interval '1 month', 'UTC'), date_trunc('month', now(), 'UTC'),
		to_char((now() - interval '1 month') AT TIME ZONE 'UTC', 'YYYYMM')) WHERE to_regclass('audit_log_' || to_char((now() - interval '1 month') AT TIME ZONE 'UTC', 'YYYYMM')) IS NULL`)
	d.Exec(t, `INSERT INTO audit_log (id, at, issuer, subject, action, target, details)
		SELECT uuidv7_floor(now() - make_interval(days => i)), now() - make_interval(days => i), CASE WHEN i % 2 = 0 THEN 'partner' ELSE '' END,
			CASE WHEN i % 2 = 0 THEN 'eve' ELSE 'ada' END, CASE WHEN i % 2 = 0 THEN 'order.cancelled' ELSE 'order.confirmed' END, 't' || i % 3, '{"n": 12345678901234567}'
		FROM generate_series(1, $1) i`, n)
}

// pages follows nextCursor to the end and returns all entries.
func (d *desk) pages(t *testing.T, query string) (list []ops.AuditEntry) {
	t.Helper()
	for path := "/audit?pageSize=3&" + query; path != ""; {
		var page ops.AuditPage
		d.get(t, path, &page)
		list = append(list, page.Items...)
		require.LessOrEqual(t, len(page.Items), 3)
		path = ""
		if page.NextCursor != "" {
			path = "/audit?pageSize=3&" + query + "&cursor=" + page.NextCursor
		}
	}
	return list
}

func TestTheAuditLogIsReadInPagesAndFiltered(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.acted(t, 10)
	day := func(n int) string {
		return url.QueryEscape(time.Now().AddDate(0, 0, -n).Add(-time.Hour).Format(time.RFC3339))
	}
	for query, want := range map[string]int{
		"": 10, "actor=eve": 5, "actor=nobody": 0, "action=order.confirmed": 5, "target=t0": 3, "target=t0&actor=ada": 2,
		"from=" + day(4): 4, "to=" + day(4): 6, "from=" + day(6) + "&to=" + day(2): 4, "from=" + day(6) + "&to=" + day(2) + "&actor=ada": 2,
		"from=1960-01-01T00:00:00Z": 10, "to=9999-12-31T23:59:59Z": 10,
	} {
		list := d.pages(t, query)
		assert.Len(t, list, want, query)
		for i := 1; i < len(list); i++ {
			assert.True(t, list[i].At.Before(list[i-1].At), "%s: newest first", query)
		}
	}
	first := d.pages(t, "")[0]
	assert.Equal(t, "ada", first.Actor)
	assert.Equal(t, "order.confirmed", first.Action)
	assert.JSONEq(t, `{"n": 12345678901234567}`, string(first.Details))
	assert.Equal(t, "partner", d.pages(t, "actor=eve")[0].Issuer)
}

// A cursor of one filter is none of another's, and only an admin reads the log.
func TestTheAuditLogIsForAdminsAndItsCursorsForOneFilter(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.acted(t, 10)
	var page ops.AuditPage
	d.get(t, "/audit?pageSize=3&actor=ada", &page)
	got := d.Do(t, kit.Call{Method: http.MethodGet, Path: base + "/audit?pageSize=3&actor=eve&cursor=" + page.NextCursor, Token: d.admin})
	assert.Equal(t, http.StatusBadRequest, got.Status, "%s", got.Body)
	link := d.Do(t, kit.Call{Method: http.MethodGet, Path: base + "/audit?pageSize=3&actor=ada", Token: d.admin}).Header.Get("Link")
	assert.Contains(t, link, "actor=ada")
	for token, want := range map[string]int{
		"": http.StatusUnauthorized, d.Token(t, "ada", kit.Everything+" webhook:manage"): http.StatusForbidden,
	} {
		got := d.Do(t, kit.Call{Method: http.MethodGet, Path: base + "/audit", Token: token})
		assert.Equal(t, want, got.Status, "%s", got.Body)
	}
}

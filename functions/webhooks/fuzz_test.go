package webhooks

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/egress"
)

var today = time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)

// FuzzEvent reads what came from the topic. What is taken can be stored, and is delivered byte for byte as it came.
func FuzzEvent(f *testing.F) {
	id := uuid.MustParse("019a0000-0000-7000-8000-000000000000")
	for i := range 6 {
		id[i] = byte(today.UnixMilli() >> (8 * (5 - i))) // a UUIDv7 begins with its time
	}
	good := `{"specversion":"1.0","id":"` + id.String() + `","source":"/api/v1/orders/1","type":"order.created.v1","subject":"` + id.String() + `","time":"2026-11-27T00:00:00Z",` +
		`"datacontenttype":"application/json","partitionkey":"k","sequence":"1","data":{"customerId":"ada"}}`
	for _, seed := range []string{good, "{}", "null", "[]", `{"specversion":"1.0","data":{"customerId":"\u0000"}}`, good[:len(good)-1], good + good, `{"ID":"` + id.String() + `"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := parseEvent(body, today)
		if err != nil {
			return
		}
		require.True(t, json.Valid(body))
		require.NotContains(t, e.Type, "\x00")
		require.NotContains(t, e.Data.CustomerID, "\x00")
		require.EqualValues(t, 7, e.ID.Version())
	})
}

// FuzzWakeUp reads what came from the queue of deliveries: nothing in it may be more than ids.
func FuzzWakeUp(f *testing.F) {
	for _, seed := range []string{`{"endpoint":"019a0000-0000-7000-8000-000000000000"}`, "{}", "null", "", `{"eventId":1}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if wake, err := readWake(body); err == nil {
			require.NotEqual(t, uuid.Nil, wake.Endpoint)
		}
	})
}

// FuzzAnswer is whatever an endpoint may say: a verdict comes of it, its text can be stored, and it can't put the next
// attempt further off than a day.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 429 x\r\nRetry-After: 99999999999999999999\r\n\r\n", "HTTP/1.1 503 x\r\nRetry-After: Fri, 27 Nov 2099 00:00:00 GMT\r\n\r\n",
		"HTTP/1.1 302 x\r\nLocation: http://169.254.169.254/\r\n\r\n", "HTTP/1.1 410 Gone\r\n\r\n\x00\xff\x1b[31m", "HTTP/1.1 999 \r\n\r\n", "HTTP/1.1 101 x\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), &http.Request{Method: http.MethodPost})
		if err != nil {
			return
		}
		defer res.Body.Close()
		body, err := io.ReadAll(io.LimitReader(res.Body, 1<<14))
		o := judge(egress.Result{Status: res.StatusCode, Header: res.Header, Excerpt: string(bytes.ToValidUTF8(body, []byte("?")))}, err, today)
		require.LessOrEqual(t, len(o.err), maxError)
		require.LessOrEqual(t, len(o.excerpt), maxExcerpt)
		require.True(t, utf8.ValidString(o.excerpt) && utf8.ValidString(o.err))
		require.True(t, o.retryAfter >= 0 && o.retryAfter <= maxRetryAfter, "%s", o.retryAfter)
		require.Equal(t, o.kind == succeeded, err == nil && res.StatusCode >= 200 && res.StatusCode < 300)
		if wait, more := (Limits{Schedule: schedule}).next(1, o); more {
			require.LessOrEqual(t, wait, maxRetryAfter)
		}
		require.LessOrEqual(t, pause(50, o), maxRetryAfter)
	})
}

package host

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Section 7: what an envelope looks like on the wire.
func TestEnvelopeOnTheWire(t *testing.T) {
	t.Parallel()
	f := start(t, setup{functions: map[string]string{"fn": everyHour}})
	require.NoError(t, f.host.Invoke(t.Context(), "FN", map[string]any{"answer": map[string]any{"How": "echo"}}, nil))
	var s seen
	for _, n := range f.notes() {
		if text, ok := strings.CutPrefix(n, "echo "); ok {
			require.NoError(t, json.Unmarshal([]byte(text), &s))
		}
	}
	assert.Equal(t, http.MethodPost, s.Method)
	assert.Equal(t, "/fn", s.URI, "the name as its folder spells it")
	assert.Equal(t, "127.0.0.1:"+s.Env["FUNCTIONS_CUSTOMHANDLER_PORT"], s.Host)
	assert.True(t, s.Chunked)
	id := s.Header.Get("X-Azure-Functions-InvocationId")
	assert.Len(t, id, 36)
	assert.Equal(t, http.Header{
		"Content-Type": {"application/json; charset=utf-8"}, "User-Agent": {"Azure-Functions-Host/4.1037.0.0"},
		"X-Azure-Functions-Hostversion": {"4.1037.0.0"}, "X-Azure-Functions-Invocationid": {id},
	}, s.Header, "and nothing that a proxied request carries")
	require.ErrorIs(t, f.host.Invoke(t.Context(), "nope", nil, nil), errNoFunction)
}

func TestEnvelopeChunks(t *testing.T) {
	t.Parallel()
	p := &pieces{rest: make([]byte, 2500)}
	var sizes []int
	for buffer := make([]byte, 32<<10); ; {
		n, err := p.Read(buffer)
		if err != nil {
			break
		}
		sizes = append(sizes, n)
	}
	assert.Equal(t, []int{1024, 1024, 452}, sizes)
}

// Section 3.1 of the contract: strings are encoded twice, objects are not.
func TestEnvelopeEncoding(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 21, 18, 40, 119_635_100, time.UTC)
	text, err := envelope("fn", at,
		map[string]any{"msg": "plain <text> & \"quotes\"", "none": nil},
		map[string]any{
			"Bytes": []byte{0, 1, 255}, "Count": 4, "Yes": true, "List": []int{1, 2}, "Props": map[string]any{"n": 5},
			"Enqueued": at, "EnqueuedUtc": DateTime(at), "Nothing": nil, "TimerTrigger": "x", "sys": "mine", "Raw": json.RawMessage(`{"a":"b"}`),
		})
	require.NoError(t, err)
	before, sys, ok := strings.Cut(string(text), `"sys":`)
	require.True(t, ok)
	assert.Equal(t, `{"Data":{"msg":"\"plain <text> & \\\"quotes\\\"\"","none":null},"Metadata":{"Bytes":"AAH/","Count":"4",`+ //nolint:testifylint // the bytes, order and spacing included, are what is asserted
		`"Enqueued":"2026-11-23T21:18:40+00:00","EnqueuedUtc":"2026-11-23T21:18:40","List":"[1,2]","Props":{"n":5},"Raw":{"a":"b"},"Yes":"true",`, before)
	assert.Regexp(t, `^\{"MethodName":"fn","UtcNow":"2026-11-23T21:18:40\.1196351Z","RandGuid":"[0-9a-f-]{36}"\}\}\}$`, sys)

	_, err = envelope("fn", at, map[string]any{"bad": make(chan int)}, nil)
	require.ErrorContains(t, err, "bad: encoding")
}

// Section 7 of the observations and 4 of the contract: which answers are successes.
func TestEnvelopeAnswers(t *testing.T) {
	t.Parallel()
	f := start(t, setup{functions: map[string]string{"fn": everyHour}})
	for _, c := range []struct {
		name   string
		answer map[string]any
		says   string // of the failure; empty for a success
	}{
		{"object", map[string]any{"Status": 200, "Type": "application/json", "Body": "{}"}, ""},
		{"201 accepted", map[string]any{"Status": 201, "Type": "text/json; charset=utf-8", "Body": ` {"Outputs":{},"ReturnValue":null}`}, ""},
		{"byte order mark", map[string]any{"Status": 200, "Type": "application/json", "Body": "\ufeff{}"}, ""},
		{"redirect is followed", map[string]any{"Status": 302, "To": "/moved"}, ""},
		{"307 in a circle, which takes the body along", map[string]any{"Status": 307, "To": "/tick"}, "redirects"},
		{"empty 200", map[string]any{"Status": 200, "Type": "application/json"}, "would hang in Azure until functionTimeout"},
		{"204", map[string]any{"Status": 204}, "would hang in Azure until functionTimeout"},
		{"null", map[string]any{"Status": 200, "Type": "application/json", "Body": "null"}, "would hang in Azure until functionTimeout"},
		{"500", map[string]any{"Status": 500, "Type": "application/json", "Body": "{}"}, "status 500"},
		{"400", map[string]any{"Status": 400, "Type": "application/json", "Body": "{}"}, "status 400"},
		{"text/plain", map[string]any{"Status": 200, "Type": "text/plain", "Body": "{}"}, `Content-Type "text/plain"`},
		{"no type", map[string]any{"Status": 200, "Body": "{}"}, `Content-Type ""`},
		{"problem", map[string]any{"Status": 200, "Type": "application/problem+json", "Body": "{}"}, "only application/json"},
		{"array", map[string]any{"Status": 200, "Type": "application/json", "Body": "[]"}, "not a JSON object"},
		{"bad JSON", map[string]any{"Status": 200, "Type": "application/json", "Body": "{"}, "not a JSON object"},
		{"other charset", map[string]any{"Status": 200, "Type": "application/json; charset=latin1", "Body": "{}"}, "latin1"},
		{"no answer", map[string]any{"How": "close"}, "EOF"},
	} {
		before := len(f.notes())
		err := f.host.Invoke(t.Context(), "fn", map[string]any{"answer": c.answer}, nil)
		if c.says == "" {
			require.NoError(t, err, c.name)
		} else {
			require.ErrorContains(t, err, c.says, c.name)
			logged := f.logs.wait(t, strings.TrimPrefix(err.Error(), "invocation of fn: "))
			assert.Equal(t, "Function.fn", logged.category, c.name)
			assert.Equal(t, "ERROR", logged.level.String(), c.name)
		}
		sent := 1
		if c.says == "redirects" {
			sent = 10
		}
		assert.Len(t, f.notes(), before+sent, c.name)
	}
	require.ErrorIs(t, f.host.Invoke(t.Context(), "fn", map[string]any{"answer": map[string]any{"Status": 204}}, nil), ErrWouldHang)

	require.NoError(t, f.host.Invoke(t.Context(), "fn", map[string]any{"answer": map[string]any{
		"Status": 200, "Type": "application/json", "Body": `{"logs":["a line of the handler",5]}`,
	}}, nil))
	assert.Equal(t, "Function.fn.User", f.logs.wait(t, "a line of the handler").category)
}

func TestEnvelopeTimeout(t *testing.T) {
	t.Parallel()
	f := start(t, setup{limits: quick, functions: map[string]string{"fn": everyHour}, hostJSON: map[string]any{"functionTimeout": "00:00:01"}})
	err := f.host.Invoke(t.Context(), "fn", map[string]any{"answer": map[string]any{"How": "hang"}}, nil)
	require.ErrorIs(t, err, errFunctionTimeout)
	eventually(t, func() bool { return len(f.starts()) == 2 })
	require.NoError(t, f.host.Invoke(t.Context(), "fn", nil, nil), "it waits for the new process")
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/company/order-catalog-service/shared/servicebus"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The envelopes that a real host was seen to send.
const (
	timerShort = `{"Data":{"timer":{"Schedule":{"AdjustForDST":true},"ScheduleStatus":null,"IsPastDue":false}},"Metadata":{"sys":{"MethodName":"tick","UtcNow":"2026-11-23T21:18:40.1196351Z","RandGuid":"3e06c3ff-02ec-4e60-974e-a3a50ee446c8"}}}`
	timerLong  = `{"Data":{"timer":{"Schedule":{"AdjustForDST":true},"ScheduleStatus":{"Last":"2026-11-23T21:40:00.0004405+00:00","Next":"2026-11-23T21:41:00+00:00","LastUpdated":"0001-01-01T00:00:00+00:00"},"IsPastDue":true}},"Metadata":{"t":"\"x\"","RetryContext":{"RetryCount":1,"MaxRetryCount":2,"Exception":{"ClassName":"X","InnerException":{"StatusCode":500}},"Instance":null,"State":{}}}}`
	oneBinary  = `{"Data":{"msg":"eyJpZCI6Nn0="},"Metadata":{"MessageId":"\"m-1\"","SequenceNumber":"42","DeliveryCount":"1","LockToken":"\"0f8f\"","EnqueuedTimeUtc":"2026-11-23T10:00:00","EnqueuedTime":"2026-11-23T10:00:00+00:00","CorrelationId":"\"c-1\"","Subject":"\"s\"","ContentType":"\"application/json\"","SessionId":"\"7\"","ApplicationProperties":{"tenant":"a","n":9007199254740993},"Client":{"FullyQualifiedNamespace":"x"},"sys":{}}}`
	oneText    = `{"Data":{"msg":"\"{\\\"type\\\":\\\"invoice.paid\\\"}\""},"Metadata":{"MessageId":"\"m-1\"","SequenceNumber":"\"5\""}}`
	batch      = `{"Data":{"msgs":"[\"YQ==\",\"\",\"Yg==\"]"},"Metadata":{"MessageIdArray":"[\"a\",\"b\",\"\\\"c\\\"\"]","SequenceNumberArray":"[1,2,3]","DeliveryCountArray":"[1,1,4]","SessionIdArray":"[null,\"s\",null]","EnqueuedTimeUtcArray":"[\"2026-11-23T10:00:00.5Z\",\"2026-11-23T10:00:01Z\",\"2026-11-23T10:00:02\"]","ApplicationPropertiesArray":"[{\"n\":1},{},null]"}}`
)

func decoded(t *testing.T, raw string) invocation {
	t.Helper()
	var in invocation
	require.NoError(t, in.decode([]byte(raw)))
	return in
}

func TestTimer(t *testing.T) {
	t.Parallel()
	info, err := decoded(t, timerShort).timer()
	require.NoError(t, err)
	assert.Equal(t, timerInfo{}, info)

	in := decoded(t, "\ufeff"+timerLong)
	info, err = in.timer()
	require.NoError(t, err)
	assert.True(t, info.IsPastDue)
	assert.Equal(t, &scheduleStatus{
		Last: time.Date(2026, 11, 23, 21, 40, 0, 440500, time.UTC),
		Next: time.Date(2026, 11, 23, 21, 41, 0, 0, time.UTC),
	}, info.ScheduleStatus, "a first run has no last update")
	assert.Equal(t, &retryContext{RetryCount: 1, MaxRetryCount: 2}, in.Retry)

	// Some senders encode the object as a text, and IsPastDue as one inside of it.
	info, err = decoded(t, `{"data":{"t":"{\"isPastDue\":\"true\"}"}}`).timer()
	require.NoError(t, err)
	assert.True(t, info.IsPastDue)
}

func TestOneMessage(t *testing.T) {
	t.Parallel()
	messages, err := decoded(t, oneBinary).serviceBus("msg")
	require.NoError(t, err)
	assert.Equal(t, []servicebus.Received{{
		Body: []byte(`{"id":6}`), MessageID: "m-1", CorrelationID: "c-1", SessionID: "7", Subject: "s",
		ContentType: "application/json", LockToken: "0f8f", SequenceNumber: 42, DeliveryCount: 1,
		EnqueuedTime:          time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC),
		ApplicationProperties: map[string]any{"tenant": "a", "n": json.Number("9007199254740993")},
	}}, messages)
}

func TestBatch(t *testing.T) {
	t.Parallel()
	messages, err := decoded(t, batch).serviceBus("msgs")
	require.NoError(t, err)
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	assert.Equal(t, []servicebus.Received{
		{Body: []byte("a"), MessageID: "a", SequenceNumber: 1, DeliveryCount: 1, EnqueuedTime: at.Add(500 * time.Millisecond), ApplicationProperties: map[string]any{"n": json.Number("1")}},
		{Body: []byte{}, MessageID: "b", SequenceNumber: 2, DeliveryCount: 1, SessionID: "s", EnqueuedTime: at.Add(time.Second), ApplicationProperties: map[string]any{}},
		{Body: []byte("b"), MessageID: `"c"`, SequenceNumber: 3, DeliveryCount: 4, EnqueuedTime: at.Add(2 * time.Second)},
	}, messages)
}

func TestBodies(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ data, want string }{
		"text, encoded twice":            {`"\"plain text\""`, "plain text"},
		"text that looks like base64":    {`"\"abcd\""`, "abcd"},
		"text that is an array":          {`"\"[1,2]\""`, "[1,2]"},
		"JSON text, encoded twice":       {`"\"{\\\"a\\\":1}\""`, `{"a":1}`},
		"JSON text, encoded once":        {`"{\"a\":1}"`, `{"a":1}`},
		"object":                         {`{"a":1}`, `{"a":1}`},
		"base64 that is a JSON number":   {`"1234"`, "\xd7\x6d\xf8"},
		"base64 that is JSON null":       {`"null"`, "\x9e\xe9\x65"},
		"base64 that is JSON true":       {`"true"`, "\xb6\xbb\x9e"},
		"empty":                          {`""`, ""},
		"array of one, not encoded":      {`["YQ=="]`, "a"},
		"array of one object":            {`"[{\"a\":1}]"`, `{"a":1}`},
		"array of one text of an object": {`"[\"{\\\"a\\\":1}\"]"`, `{"a":1}`},
		"array of one null":              {`"[null]"`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			messages, err := decoded(t, `{"Data":{"m":`+c.data+`}}`).serviceBus("m")
			require.NoError(t, err)
			require.Len(t, messages, 1)
			assert.Equal(t, c.want, string(messages[0].Body))
		})
	}
}

func TestUnclearEnvelopesNameTheField(t *testing.T) {
	t.Parallel()
	for raw, field := range map[string]string{
		``:                            "body",
		`[]`:                          "body",
		`{}`:                          "Data",
		`{"Data":{"m":"YQ=="}} {}`:    "body",
		`{"Data":{},"Data":{}}`:       "body.Data",
		`{"Data":{"m":1,"m":2}}`:      "Data.m",
		`{"Data":"x"}`:                "Data",
		`{"Data":null}`:               "Data",
		`{"Data":{},"data":{}}`:       "Data.m",
		`{"DATA":{},"data":{}}`:       "Data",
		"{\"Data\":{\"m\":\"\xff\"}}": "body",
		`{"Data":{"other":"YQ=="}}`:   "Data.m",
		`{"Data":{"m":null}}`:         "Data.m",
		`{"Data":{"m":"plain text"}}`: "Data.m",
		`{"Data":{"m":5}}`:            "Data.m",
		`{"Data":{"m":"[]"}}`:         "Data.m",
		`{"Data":{"m":"[\"YQ==\",\"not base64\"]"}}`:                                    "Data.m[1]",
		`{"Data":{"m":"[1]"},"Metadata":{"SequenceNumber":"7"}}`:                        "Data.m",
		`{"Data":{"m":"YQ=="},"Metadata":{"MessageIdArray":"[\"a\"]"}}`:                 "Data.m",
		`{"Data":{"m":["YQ==","Yg=="]},"Metadata":{"MessageIdArray":"[\"a\"]"}}`:        "Metadata.MessageIdArray",
		`{"Data":{"m":["YQ=="]},"Metadata":{"MessageIdArray":"\"a\""}}`:                 "Metadata.MessageIdArray",
		`{"Data":{"m":["YQ=="]},"Metadata":{"MessageIdArray":"[\"a\",\"b\"]"}}`:         "Metadata.MessageIdArray",
		`{"Data":{"m":["YQ==","Yg=="]},"Metadata":{"SequenceNumberArray":"[1,\"x\"]"}}`: "Metadata.SequenceNumberArray[1]",
		`{"Data":{"m":"YQ=="},"Metadata":{"EnqueuedTimeUtc":"11/23/2026 10:00:00"}}`:    "Metadata.EnqueuedTimeUtc",
		`{"Data":{"m":"YQ=="},"Metadata":{"subject":"\"a\"","SUBJECT":"\"b\""}}`:        "Subject",
		`{"Data":{"m":"YQ=="},"Metadata":{"ApplicationProperties":"[1]"}}`:              "Metadata.ApplicationProperties",
		`{"Data":{"m":"YQ=="},"Metadata":{"RetryContext":5}}`:                           "Metadata.RetryContext",
		`{"Data":{"m":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}}`:    "body",
		`{"Data":{"m":"` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `"}}`:  "Data.m",
		`{"Data":{"m":[` + strings.Repeat(`"YQ==",`, maxMessages) + `"YQ=="]}}`:         "Data.m",
	} {
		var (
			in       invocation
			envelope *envelopeError
		)
		err := in.decode([]byte(raw))
		if err == nil {
			_, err = in.serviceBus("m")
		}
		if assert.ErrorAs(t, err, &envelope, "%.120s", raw) {
			assert.Equal(t, field, envelope.Field, "%.120s: %s", raw, envelope.Reason)
		}
	}
	for _, raw := range []string{
		`{"Data":{}}`, `{"Data":{"a":{},"b":{}}}`, `{"Data":{"t":"x"}}`, `{"Data":{"t":{"IsPastDue":7}}}`,
		`{"Data":{"t":{"ScheduleStatus":7}}}`, `{"Data":{"t":{"ScheduleStatus":{"Next":"soon"}}}}`,
	} {
		var envelope *envelopeError
		_, err := decoded(t, raw).timer()
		assert.ErrorAs(t, err, &envelope, raw)
	}
}

// fielded adds what ctx says, as the handler's logger does.
type fielded struct{ slog.Handler }

// Handle implements slog.Handler.
func (f fielded) Handle(ctx context.Context, r slog.Record) error {
	r.AddAttrs(logFields(ctx)...)
	return f.Handler.Handle(ctx, r)
}

// call sends one envelope through a handler and returns the answer and what was logged.
func call(t *testing.T, run func(context.Context, invocation) error, change func(*http.Request)) (*http.Response, string, string) {
	t.Helper()
	var log bytes.Buffer
	h := triggers{slog.New(fielded{slog.NewTextHandler(&log, nil)}), time.Minute}.handler(trigger{Function: "tick", Timer: "* * * * * *"}, run)
	r := httptest.NewRequest(http.MethodPost, "/tick", strings.NewReader(timerShort))
	r.Header.Set("X-Azure-Functions-InvocationId", "2d28af1f")
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result(), w.Body.String(), log.String()
}

func TestSuccessIsAnEmptyObjectAndNoLogLine(t *testing.T) {
	t.Parallel()
	var seen invocation
	res, body, log := call(t, func(ctx context.Context, in invocation) error {
		seen = in
		_, bounded := ctx.Deadline()
		assert.True(t, bounded, "a run must end before the host's own timeout")
		return nil
	}, nil)
	assert.Equal(t, http.StatusOK, res.StatusCode)
	assert.Equal(t, "application/json", res.Header.Get("Content-Type"))
	assert.Equal(t, "{}", body)
	assert.Empty(t, log)
	assert.Equal(t, "2d28af1f", seen.ID)
	assert.Equal(t, "tick", seen.Function)
}

func TestFailuresBringTheMessageBack(t *testing.T) {
	t.Parallel()
	res, body, log := call(t, onTimer(func(context.Context, timerInfo) error { return errors.New("password=hunter2") }), nil)
	assert.Equal(t, http.StatusInternalServerError, res.StatusCode)
	assert.JSONEq(t, `{"error":"the invocation failed; its cause is in the log"}`, body)
	assert.Contains(t, log, "hunter2")
	assert.Contains(t, log, "invocation_id=2d28af1f")

	res, body, log = call(t, onTimer(func(context.Context, timerInfo) error { panic(http.ErrAbortHandler) }), nil)
	assert.Equal(t, http.StatusInternalServerError, res.StatusCode)
	assert.JSONEq(t, `{"error":"the invocation failed; its cause is in the log"}`, body)
	assert.Contains(t, log, "panic: ")

	res, body, _ = call(t, onServiceBus("msg", func(context.Context, []servicebus.Received) error { return nil }), nil)
	assert.Equal(t, http.StatusInternalServerError, res.StatusCode)
	assert.Contains(t, body, "Data.msg is missing")

	res, body, _ = call(t, onTimer(func(context.Context, timerInfo) error { return nil }), func(r *http.Request) {
		r.Body = io.NopCloser(io.LimitReader(blanks{}, maxEnvelope+1))
	})
	assert.Equal(t, http.StatusInternalServerError, res.StatusCode)
	assert.Contains(t, body, "maxMessageBatchSize")
}

// blanks is an endless body.
type blanks struct{}

func (blanks) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestThePublicCantReachATrigger(t *testing.T) {
	t.Parallel()
	never := func(context.Context, invocation) error { t.Error("must not run"); return nil }
	for _, header := range []string{"x-ms-invocation-id", "X-Forwarded-Host"} {
		res, body, _ := call(t, never, func(r *http.Request) { r.Header.Set(header, "") })
		assert.Equal(t, http.StatusNotFound, res.StatusCode, header)
		assert.Equal(t, "application/problem+json", res.Header.Get("Content-Type"))
		assert.Contains(t, body, `"status":404`)
	}
	res, _, _ := call(t, never, func(r *http.Request) { r.Method = http.MethodGet })
	assert.Equal(t, http.StatusMethodNotAllowed, res.StatusCode)
	assert.Equal(t, http.MethodPost, res.Header.Get("Allow"))
}

// FuzzEnvelope: no input panics, no failure is anything but a named field, and a batch whose ids came along has
// each id at its own message.
func FuzzEnvelope(f *testing.F) {
	for _, seed := range []string{timerShort, timerLong, oneBinary, oneText, batch, `{"Data":{"msg":"null"}}`, `{"Data":{"msgs":["YQ=="]}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var (
			in       invocation
			envelope *envelopeError
		)
		if err := in.decode(raw); err != nil {
			require.ErrorAs(t, err, &envelope)
			return
		}
		if _, err := in.timer(); err != nil {
			require.ErrorAs(t, err, &envelope)
		}
		for name := range in.Data {
			messages, err := in.serviceBus(name)
			if err != nil {
				require.ErrorAs(t, err, &envelope)
				continue
			}
			require.NotEmpty(t, messages)
			var ids []*string
			if json.Unmarshal(unwrap(in.Metadata["MessageIdArray"]), &ids) == nil && ids != nil {
				require.Len(t, messages, len(ids))
				for i, id := range ids {
					if id != nil {
						require.Equal(t, *id, messages[i].MessageID)
					}
				}
			}
		}
	})
}

// The server's deadlines are a request's: an invocation that takes longer is not cut off by them, and can answer.
func TestAnInvocationOutlivesTheServersDeadlines(t *testing.T) {
	t.Parallel()
	done := make(chan error, 1)
	run := func(ctx context.Context, _ invocation) error {
		select {
		case <-ctx.Done():
		case <-time.After(300 * time.Millisecond):
		}
		done <- ctx.Err()
		return nil
	}
	server := httptest.NewUnstartedServer(triggers{slog.New(slog.DiscardHandler), time.Minute}.handler(trigger{Function: "tick", Timer: "* * * * * *"}, run))
	server.Config.ReadTimeout, server.Config.WriteTimeout = 50*time.Millisecond, 100*time.Millisecond
	server.Start()
	defer server.Close()
	res, err := http.Post(server.URL+"/tick", "application/json", strings.NewReader(timerShort))
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	assert.Equal(t, http.StatusOK, res.StatusCode)
	require.NoError(t, <-done)
}

package lambda

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/servicebus"
	"github.com/company/order-catalog-service/tests/kit"
)

// reply is an answer to API Gateway.
type reply struct {
	StatusCode      int
	Headers         map[string]string
	Body            string
	IsBase64Encoded bool
}

// http is an HTTP event as API Gateway writes it, payload format 2.0.
func (w *world) http(t *testing.T, method, path, token, key string, body any) reply {
	t.Helper()
	path, query, _ := strings.Cut(path, "?")
	headers := map[string]string{"host": "abc.execute-api.us-east-1.amazonaws.com", "x-forwarded-for": "203.0.113.7", "accept-encoding": "gzip"}
	if token != "" {
		headers["authorization"] = "Bearer " + token
	}
	if key != "" {
		headers["idempotency-key"] = key
	}
	payload := map[string]any{
		"version": "2.0", "routeKey": "$default", "rawPath": "/prod" + path, "rawQueryString": query, "headers": headers, "isBase64Encoded": false,
		"requestContext": map[string]any{
			"stage": "prod", "domainName": headers["host"], "requestId": "r", "time": "26/Nov/2026:00:05:00 +0000",
			"http": map[string]any{"method": method, "path": "/prod" + path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7", "userAgent": "curl"},
		},
	}
	if body != nil {
		raw, err := json.Marshal(body)
		require.NoError(t, err)
		headers["content-type"] = "application/json"
		payload["body"], payload["isBase64Encoded"] = base64.StdEncoding.EncodeToString(raw), true
	}
	answer, failed := w.invoke(t, payload)
	require.False(t, failed, "%s", answer)
	var r reply
	require.NoError(t, json.Unmarshal(answer, &r))
	return r
}

func (w *world) token(t *testing.T, who string) string {
	t.Helper()
	token, err := w.issuer.Token(who, kit.Everything)
	require.NoError(t, err)
	return token
}

func draft(customer, product string) map[string]any {
	return map[string]any{
		"customerId": customer, "lines": []any{map[string]any{"productId": product, "quantity": 1}},
		"shippingAddress": map[string]any{"name": "Ada Lovelace", "line1": "1 Main Street", "city": "Austin", "postalCode": "73301", "country": "US"},
	}
}

// TestTheSameRoutes places an order and reads what there is to read, by HTTP events.
func TestTheSameRoutes(t *testing.T) {
	t.Parallel()
	w := start(t)
	product, token, key := w.Product(t, 5).String(), w.token(t, "ada"), uuid.NewString()
	placed := w.http(t, http.MethodPost, "/api/v1/orders", token, key, draft("ada", product))
	require.Equal(t, http.StatusCreated, placed.StatusCode, placed.Body)
	assert.False(t, placed.IsBase64Encoded)
	again := w.http(t, http.MethodPost, "/api/v1/orders", token, key, draft("ada", product))
	assert.Equal(t, placed.Body, again.Body)
	assert.Equal(t, "true", again.Headers["Idempotent-Replayed"])
	assert.Equal(t, 1, kit.One[int](t, w.Database, `SELECT count(*)::int FROM orders`))

	read := w.http(t, http.MethodGet, placed.Headers["Location"], token, "", nil)
	assert.Equal(t, placed.Body, read.Body)
	list := w.http(t, http.MethodGet, "/api/v1/products?pageSize=1&category=none", token, "", nil)
	assert.Equal(t, http.StatusOK, list.StatusCode)
	assert.JSONEq(t, `{"items": []}`, list.Body, "the query comes through")
	assert.Equal(t, http.StatusUnauthorized, w.http(t, http.MethodGet, "/api/v1/orders", "", "", nil).StatusCode)

	// What is not text travels as base64.
	script := w.http(t, http.MethodGet, "/docs/assets/swagger-ui-bundle.js", "", "", nil)
	require.Equal(t, http.StatusOK, script.StatusCode)
	if script.Headers["Content-Encoding"] == "gzip" {
		require.True(t, script.IsBase64Encoded)
		raw, err := base64.StdEncoding.DecodeString(script.Body)
		require.NoError(t, err)
		unpacked, err := gzip.NewReader(bytes.NewReader(raw))
		require.NoError(t, err)
		text, err := io.ReadAll(unpacked)
		require.NoError(t, err)
		assert.Contains(t, string(text), "SwaggerUI")
	}
}

// TestTriggersAreNotRoutes: the public must not be able to make a timer run, or to forge messages.
func TestTriggersAreNotRoutes(t *testing.T) {
	t.Parallel()
	w := start(t)
	got := w.http(t, http.MethodPost, "/housekeeping", "", "", map[string]any{"Data": map[string]any{"timer": map[string]any{}}})
	assert.Equal(t, http.StatusNotFound, got.StatusCode, got.Body)
}

// TestSchedulesRunTimers confirms an order by the rule of housekeeping.
func TestSchedulesRunTimers(t *testing.T) {
	t.Parallel()
	w := start(t, "ORDER_CONFIRM_AFTER=1ms")
	product, token := w.Product(t, 5).String(), w.token(t, "ada")
	placed := w.http(t, http.MethodPost, "/api/v1/orders", token, uuid.NewString(), draft("ada", product))
	require.Equal(t, http.StatusCreated, placed.StatusCode, placed.Body)
	rule := func(name string) map[string]any {
		return map[string]any{
			"version": "0", "id": uuid.NewString(), "detail-type": "Scheduled Event", "source": "aws.events", "account": "123456789012",
			"time": "2026-11-26T00:05:00Z", "region": "us-east-1", "resources": []string{"arn:aws:events:us-east-1:123456789012:rule/" + name}, "detail": map[string]any{},
		}
	}
	said, failed := w.invoke(t, rule("shop-housekeeping"))
	require.False(t, failed, "%s", said)
	read := w.http(t, http.MethodGet, placed.Headers["Location"], token, "", nil)
	assert.Contains(t, read.Body, `"Confirmed"`)

	for _, wrong := range []string{"shop-nothing", "shop-webhooks-deliver"} {
		said, failed = w.invoke(t, rule(wrong))
		assert.True(t, failed, "%s", said)
		assert.Contains(t, string(said), "no timer function")
	}
	said, failed = w.invoke(t, map[string]any{"hello": "there"})
	assert.True(t, failed)
	assert.Contains(t, string(said), "EventBridge")
	assert.Equal(t, http.StatusOK, w.http(t, http.MethodGet, "/health/live", "", "", nil).StatusCode, "the process lives")
}

// sqs is one message in a batch.
func sqs(queue, id, body string, attributes map[string]string, group string) map[string]any {
	system := map[string]string{"ApproximateReceiveCount": "1", "SentTimestamp": "1795651200000", "SenderId": "x", "ApproximateFirstReceiveTimestamp": "1795651200001"}
	if group != "" {
		system["MessageGroupId"] = group
	}
	list := map[string]any{}
	for name, value := range attributes {
		list[name] = map[string]any{"stringValue": value, "dataType": "String", "stringListValues": []string{}, "binaryListValues": []string{}}
	}
	return map[string]any{
		"messageId": id, "receiptHandle": "h", "body": body, "attributes": system, "messageAttributes": list, "md5OfBody": "x",
		"eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:" + queue, "awsRegion": "us-east-1",
	}
}

func failures(t *testing.T, answer []byte) (ids []string) {
	t.Helper()
	var parsed struct {
		BatchItemFailures []struct{ ItemIdentifier string }
	}
	require.NoError(t, json.Unmarshal(answer, &parsed))
	require.Contains(t, string(answer), `"batchItemFailures":[`, "null would be no batch response, and the whole batch would be taken for done")
	for _, f := range parsed.BatchItemFailures {
		ids = append(ids, f.ItemIdentifier)
	}
	return ids
}

// TestABatchFailsInParts queues three orders, carries their messages over to SQS and breaks one on the way.
func TestABatchFailsInParts(t *testing.T) {
	t.Parallel()
	w := start(t)
	product, token := w.Product(t, 5).String(), w.token(t, "ada")
	// Queued by the handler itself, with the preference that it takes for it.
	var requests []string
	for range 3 {
		requests = append(requests, w.queue(t, token, product))
	}
	var batch []any
	for i, m := range w.queued(t, 3) {
		attributes := map[string]string{"MessageId": m.MessageID}
		if m.CorrelationID != nil {
			attributes["CorrelationId"] = *m.CorrelationID
		}
		for name, value := range m.ApplicationProperties {
			if text, ok := value.(string); ok {
				attributes[name] = text
			}
		}
		one := sqs("order-requests", string(rune('a'+i)), string(m.Body), attributes, "")
		if i == 1 {
			one["attributes"].(map[string]string)["ApproximateReceiveCount"] = "many"
		}
		batch = append(batch, one)
	}
	said, failed := w.invoke(t, map[string]any{"Records": batch})
	require.False(t, failed, "%s", said)
	assert.Equal(t, []string{"b"}, failures(t, said))
	assert.Equal(t, 2, kit.One[int](t, w.Database, `SELECT count(*)::int FROM orders`))

	// It comes again, mended, with its neighbours: each order is placed once.
	batch[1].(map[string]any)["attributes"].(map[string]string)["ApproximateReceiveCount"] = "2"
	said, failed = w.invoke(t, map[string]any{"Records": batch})
	require.False(t, failed, "%s", said)
	assert.Empty(t, failures(t, said))
	assert.Equal(t, 3, kit.One[int](t, w.Database, `SELECT count(*)::int FROM orders`))
	for _, request := range requests {
		assert.Contains(t, w.http(t, http.MethodGet, request, token, "", nil).Body, `"placed"`)
	}

	// In a FIFO queue what comes after a failure in its group must come again, and other groups need not.
	bad := func(id, group string) map[string]any {
		m := sqs("webhook-deliveries.fifo", id, `{"deliveryId":"`+uuid.NewString()+`"}`, nil, group)
		m["attributes"].(map[string]string)["ApproximateReceiveCount"] = "many"
		return m
	}
	good := func(id, group string) map[string]any {
		return sqs("webhook-deliveries.fifo", id, "nothing that can be read: it is recorded as poison", nil, group)
	}
	said, failed = w.invoke(t, map[string]any{"Records": []any{good("1", "x"), bad("2", "x"), good("3", "y"), good("4", "x")}})
	require.False(t, failed, "%s", said)
	assert.Equal(t, []string{"2", "4"}, failures(t, said))
	assert.Equal(t, 2, kit.One[int](t, w.Database, `SELECT count(*)::int FROM dead_letters`))

	said, failed = w.invoke(t, map[string]any{"Records": []any{sqs("somebody-elses", "1", "x", nil, "")}})
	assert.True(t, failed)
	assert.Contains(t, string(said), "somebody-elses")
}

// queue has an order accepted and returns where it can be asked for.
func (w *world) queue(t *testing.T, token, product string) string {
	t.Helper()
	raw, err := json.Marshal(draft("ada", product))
	require.NoError(t, err)
	answer, failed := w.invoke(t, map[string]any{
		"version": "2.0", "rawPath": "/api/v1/orders", "body": string(raw), "isBase64Encoded": false,
		"headers": map[string]string{
			"content-type": "application/json", "authorization": "Bearer " + token, "idempotency-key": uuid.NewString(), "prefer": "respond-async",
		},
		"requestContext": map[string]any{"stage": "$default", "domainName": "shop", "http": map[string]any{"method": "POST", "sourceIp": "203.0.113.7"}},
	})
	require.False(t, failed, "%s", answer)
	var r reply
	require.NoError(t, json.Unmarshal(answer, &r))
	require.Equal(t, http.StatusAccepted, r.StatusCode, r.Body)
	return r.Headers["Location"]
}

// queued takes n messages off the Service Bus queue, as whoever carries them to SQS would.
func (w *world) queued(t *testing.T, n int) (list []*azservicebus.ReceivedMessage) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	client, err := azservicebus.NewClientFromConnectionString(w.broker.Connection, nil)
	require.NoError(t, err)
	defer func() { _ = client.Close(context.Background()) }()
	receiver, err := client.NewReceiverForQueue(servicebus.QueueOrderRequests, nil)
	require.NoError(t, err)
	for len(list) < n {
		got, err := receiver.ReceiveMessages(ctx, n-len(list), nil)
		require.NoError(t, err)
		for _, m := range got {
			require.NoError(t, receiver.CompleteMessage(ctx, m, nil))
		}
		list = append(list, got...)
	}
	return list
}

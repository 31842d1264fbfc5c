package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

// On AWS Lambda the same routes and triggers are reached by events instead of the Functions host: API Gateway's HTTP
// events, batches of SQS messages and EventBridge schedules. This file translates, and is all that knows of it.
// docs/lambda.md says what differs.

// serveLambda answers events until the process is killed. It returns only when Lambda's own interface fails.
func (s *service) serveLambda(ctx context.Context) {
	lambda.StartWithOptions(lambdaEvents{service: s, http: s.api.Handler()}, lambda.WithContext(ctx))
}

// lambdaEvents implements lambda.Handler.
type lambdaEvents struct {
	service *service
	http    http.Handler
}

// Invoke answers one event. A panic is an error of this event: the library would end the process with all that it has
// cached.
func (l lambdaEvents) Invoke(ctx context.Context, payload []byte) (answer []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			l.service.logger.ErrorContext(ctx, "panic", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			answer, err = nil, errors.New("the event made the function panic; the stack is in the log")
		}
	}()
	var kind struct {
		RequestContext struct{ HTTP *struct{} }
		Records        []struct{ EventSource string }
		Source         string
	}
	if err := json.Unmarshal(payload, &kind); err != nil {
		return nil, fmt.Errorf("the event is not JSON: %w", err)
	}
	var result any
	switch {
	case kind.RequestContext.HTTP != nil:
		result, err = l.request(ctx, payload)
	case len(kind.Records) > 0 && kind.Records[0].EventSource == "aws:sqs":
		result, err = l.messages(ctx, payload)
	case kind.Source == "aws.events":
		result, err = struct{}{}, l.schedule(ctx, payload)
	default:
		err = errors.New("the event is none of an HTTP API (payload format 2.0), an SQS queue or an EventBridge schedule")
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(result)
}

// request answers an HTTP event by the routes that the Functions host sends requests to.
func (l lambdaEvents) request(ctx context.Context, payload []byte) (events.APIGatewayV2HTTPResponse, error) {
	var event events.APIGatewayV2HTTPRequest
	if err := json.Unmarshal(payload, &event); err != nil {
		return events.APIGatewayV2HTTPResponse{}, fmt.Errorf("reading the HTTP event: %w", err)
	}
	body := []byte(event.Body)
	if event.IsBase64Encoded {
		var err error
		if body, err = base64.StdEncoding.DecodeString(event.Body); err != nil {
			return events.APIGatewayV2HTTPResponse{}, fmt.Errorf("the event's body is not base64: %w", err)
		}
	}
	path := event.RawPath
	if stage := event.RequestContext.Stage; stage != "$default" {
		path = strings.TrimPrefix(path, "/"+stage)
	}
	if event.RawQueryString != "" {
		path += "?" + event.RawQueryString
	}
	r, err := http.NewRequestWithContext(ctx, event.RequestContext.HTTP.Method, path, bytes.NewReader(body))
	if err != nil {
		return events.APIGatewayV2HTTPResponse{StatusCode: http.StatusBadRequest}, nil //nolint:nilerr // it is the caller's
	}
	for name, value := range event.Headers {
		r.Header.Set(name, value)
	}
	if len(event.Cookies) > 0 {
		r.Header.Set("Cookie", strings.Join(event.Cookies, "; "))
	}
	r.Host, r.RequestURI = event.RequestContext.DomainName, path
	r.RemoteAddr = event.RequestContext.HTTP.SourceIP + ":0"
	// As the Functions host marks what came from the public: the paths of triggers refuse it.
	r.Header.Set("X-Forwarded-Host", event.RequestContext.DomainName)
	out := &lambdaAnswer{header: http.Header{}}
	l.http.ServeHTTP(out, r)
	return out.event(), nil
}

// schedule runs the timer function that the rule is named after, as in "shop-outbox" for outbox.
func (l lambdaEvents) schedule(ctx context.Context, payload []byte) error {
	var event events.EventBridgeEvent
	if err := json.Unmarshal(payload, &event); err != nil {
		return fmt.Errorf("reading the schedule's event: %w", err)
	}
	for _, resource := range event.Resources {
		rule := resource[strings.LastIndexByte(resource, '/')+1:]
		for _, f := range triggerFunctions {
			if f.Timer != "" && (rule == f.Function || strings.HasSuffix(rule, "-"+f.Function)) {
				return l.run(ctx, f, invocation{
					ID: requestID(ctx), Function: f.Function, Data: map[string]json.RawMessage{"timer": json.RawMessage(`{"IsPastDue":false}`)},
				})
			}
		}
	}
	return fmt.Errorf("no timer function is named at the end of any of the rules %q", event.Resources)
}

// messages gives each message to the function of its queue and reports those that must come again, so that one of
// them doesn't bring back its neighbours. After a failure the rest of its FIFO group comes again too: in order.
func (l lambdaEvents) messages(ctx context.Context, payload []byte) (failed events.SQSEventResponse, err error) {
	var event events.SQSEvent
	if err := json.Unmarshal(payload, &event); err != nil {
		return failed, fmt.Errorf("reading the SQS event: %w", err)
	}
	failed.BatchItemFailures = []events.SQSBatchItemFailure{}
	broken := map[string]bool{} // groups with a failure
	for _, m := range event.Records {
		f, err := functionOfQueue(m.EventSourceARN)
		if err != nil {
			return failed, err
		}
		group := m.Attributes["MessageGroupId"]
		if group == "" || !broken[group] {
			if err := l.run(ctx, f, fromSQS(f, m)); err != nil {
				l.service.logger.ErrorContext(ctx, "trigger failed", "function", f.Function, "message", m.MessageId, "error", err)
				broken[group] = true
				failed.BatchItemFailures = append(failed.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: m.MessageId})
			}
			continue
		}
		failed.BatchItemFailures = append(failed.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: m.MessageId})
	}
	return failed, nil
}

// functionOfQueue finds the function by the queue's name: that of the Service Bus queue, topic-subscription for a
// subscription, -dlq behind either for its dead letters, .fifo behind all of it where order counts.
func functionOfQueue(arn string) (trigger, error) {
	queue := strings.TrimSuffix(arn[strings.LastIndexByte(arn, ':')+1:], ".fifo")
	for _, f := range triggerFunctions {
		name := f.Queue
		if f.Topic != "" {
			name = f.Topic + "-" + f.Subscription
		}
		if name != "" && queue == strings.Replace(name, "/$DeadLetterQueue", "-dlq", 1) {
			return f, nil
		}
	}
	return trigger{}, fmt.Errorf("no function takes messages of the queue %q", queue)
}

// fromSQS is a message in the form in which the Functions host hands one over.
func fromSQS(f trigger, m events.SQSMessage) invocation {
	text := func(s string) json.RawMessage {
		raw, _ := json.Marshal(s) // a string can always be
		return raw
	}
	properties := map[string]string{}
	meta := fields{"MessageId": text(m.MessageId), "DeliveryCount": text(m.Attributes["ApproximateReceiveCount"])}
	for name, attribute := range m.MessageAttributes {
		if attribute.StringValue != nil {
			properties[name] = *attribute.StringValue
		}
	}
	// Service Bus has these as fields of their own; here they travel as attributes of the same names.
	for _, name := range []string{"MessageId", "CorrelationId", "Subject", "ContentType"} {
		if value, ok := properties[name]; ok {
			meta[name] = text(value)
			delete(properties, name)
		}
	}
	if group := m.Attributes["MessageGroupId"]; group != "" {
		meta["SessionId"] = text(group)
	}
	if ms, err := strconv.ParseInt(m.Attributes["SentTimestamp"], 10, 64); err == nil {
		meta["EnqueuedTime"] = text(time.UnixMilli(ms).UTC().Format(time.RFC3339Nano))
	}
	meta["ApplicationProperties"], _ = json.Marshal(properties) // as above
	return invocation{
		ID: m.MessageId, Function: f.Function, Metadata: meta,
		Data: map[string]json.RawMessage{messages: text(base64.StdEncoding.EncodeToString([]byte(m.Body)))},
	}
}

// run is a trigger's function, within the deadline that every trigger has; Lambda's own may be sooner.
func (l lambdaEvents) run(ctx context.Context, f trigger, in invocation) error {
	ctx, cancel := context.WithTimeout(ctx, triggerDeadline)
	defer cancel()
	if err := l.service.ready(ctx); err != nil {
		return err
	}
	return f.Run(l.service)(ctx, in)
}

func requestID(ctx context.Context) string {
	if lc, ok := lambdacontext.FromContext(ctx); ok {
		return lc.AwsRequestID
	}
	return ""
}

// lambdaAnswer collects an answer: Lambda takes it whole.
type lambdaAnswer struct {
	header http.Header
	sent   http.Header // as it was when the status was written
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (w *lambdaAnswer) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *lambdaAnswer) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.status, w.sent = status, w.header.Clone()
	}
}

// Write implements http.ResponseWriter.
func (w *lambdaAnswer) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

// event is the answer as API Gateway reads it. What is not text goes as base64.
func (w *lambdaAnswer) event() events.APIGatewayV2HTTPResponse {
	w.WriteHeader(http.StatusOK)
	out := events.APIGatewayV2HTTPResponse{StatusCode: w.status, Headers: map[string]string{}, Cookies: w.sent.Values("Set-Cookie")}
	for name, values := range w.sent {
		if name != "Set-Cookie" {
			out.Headers[name] = strings.Join(values, ", ")
		}
	}
	if body := w.body.Bytes(); utf8.Valid(body) && w.sent.Get("Content-Encoding") == "" {
		out.Body = string(body)
	} else {
		out.Body, out.IsBase64Encoded = base64.StdEncoding.EncodeToString(body), true
	}
	return out
}

package host

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/company/order-catalog-service/infra/local/host/app"
)

// ErrWouldHang fails an invocation that was answered without a JSON object's worth of body.
var ErrWouldHang = errors.New("the answer to an invocation was 2xx without a body: it would hang in Azure until functionTimeout, " +
	"and the handler would then be killed; answer {} as application/json")

// DateTime is a .NET DateTime among an invocation's metadata; it arrives without its zone and its fraction. (A
// time.Time arrives as a DateTimeOffset, in whole seconds with +00:00.)
type DateTime time.Time

// Invoke calls a function with an envelope, as a trigger does, and returns nil when the handler took it. A failure is
// in the host's log already; what it means is the trigger's business (Service Bus: the message is abandoned).
//
// Values are encoded as the real host encodes them: []byte as base64, whatever is an object in JSON as that object,
// and everything else as a string that holds its JSON text, so that a string arrives encoded twice.
func (h *Host) Invoke(ctx context.Context, function string, data, metadata map[string]any) error {
	return h.job.Load().invoke(ctx, function, data, metadata)
}

func (j *job) invoke(ctx context.Context, function string, data, metadata map[string]any) error {
	f, err := j.function(function)
	if err != nil {
		return err
	}
	j.host.inFlight.begin()
	defer j.host.inFlight.end()
	in := &invocation{id: uuid.NewString(), function: f.Name}
	body, err := envelope(f.Name, time.Now(), data, metadata)
	if err != nil {
		return fmt.Errorf("invocation of %s: %w", f.Name, err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer j.bound(in, cancel)()
	stop := context.AfterFunc(j.ctx, func() { cancel(context.Cause(j.ctx)) })
	defer stop()
	if err := j.post(ctx, in, body); err != nil {
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		j.logFailure(in, err)
		return fmt.Errorf("invocation of %s: %w", f.Name, err)
	}
	return nil
}

// post sends an envelope once, and judges the answer.
func (j *job) post(ctx context.Context, in *invocation, body []byte) error {
	res, err := j.deliver(ctx, in, body)
	if err != nil {
		return err
	}
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return fmt.Errorf("reading the handler's answer: %w", err)
	}
	lines, err := judge(res.StatusCode, res.Header.Get("Content-Type"), answer)
	for _, line := range lines {
		j.log("Function."+in.function+".User", app.LevelInformation, line, slog.String("invocation", in.id))
	}
	return err
}

// deliver sends an envelope to the handler that is ready, following redirects as the real host's client does. One that finds nobody
// listening has reached nobody: that process has ended, which is seen in a moment, and it waits for the next one.
func (j *job) deliver(ctx context.Context, in *invocation, body []byte) (*http.Response, error) {
	for {
		p, err := j.handler.await(ctx, in)
		if err != nil {
			return nil, err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+j.addr+"/"+in.function, &pieces{rest: body})
		if err != nil {
			return nil, fmt.Errorf("making the request: %w", err)
		}
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(&pieces{rest: body}), nil }
		req.Header.Set("Content-Type", "application/json; charset=utf-8")
		req.Header.Set("User-Agent", "Azure-Functions-Host/"+hostVersion)
		req.Header.Set("X-Azure-Functions-HostVersion", hostVersion)
		req.Header.Set("X-Azure-Functions-InvocationId", in.id)
		client := http.Client{Transport: once{p.transport}}
		res, err := client.Do(req)
		if err == nil {
			return res, nil
		}
		if !notSent(err) || !j.handler.lost(ctx, p) {
			return nil, fmt.Errorf("calling the handler: %w", err)
		}
	}
}

// judge tells success from failure as the real host does, and returns the lines that the handler wants logged.
func judge(status int, contentType string, body []byte) (logs []string, err error) {
	switch {
	case status < 200 || status > 299:
		return nil, fmt.Errorf("the handler answered with status %d", status)
	case len(body) == 0:
		return nil, ErrWouldHang
	}
	kind, parameters, err := mime.ParseMediaType(contentType)
	if err != nil || kind != "application/json" && kind != "text/json" {
		return nil, fmt.Errorf("the handler answered with Content-Type %q, where only application/json and text/json are read", contentType)
	}
	if charset := strings.ToLower(parameters["charset"]); charset != "" && charset != "utf-8" {
		return nil, fmt.Errorf("the handler answered in %s; here only UTF-8 is read", charset)
	}
	body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	var answer *struct {
		Outputs map[string]json.RawMessage
		Logs    []any
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("the handler's answer is not a JSON object as the host expects it: %w", err)
	}
	if answer == nil {
		return nil, ErrWouldHang
	}
	for _, line := range answer.Logs {
		logs = append(logs, fmt.Sprint(line))
	}
	return logs, nil
}

// once keeps net/http from sending a broken request again by itself: an envelope goes out once. Redirects may
// still rewind it, since they are the client's business and not the transport's.
type once struct {
	transport http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (o once) RoundTrip(req *http.Request) (*http.Response, error) {
	single := *req
	single.GetBody = nil
	return o.transport.RoundTrip(&single)
}

// pieces hands out a body 1,024 bytes at a time, which become the chunks that were seen on the wire.
type pieces struct {
	rest []byte
}

// Read implements io.Reader.
func (p *pieces) Read(into []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(into[:min(len(into), 1024)], p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// envelope is the body of an invocation. Metadata leaves out what is null and what is called ...trigger, and ends
// with sys.
func envelope(function string, now time.Time, data, metadata map[string]any) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(`{"Data":{`)
	if err := writeMembers(&b, data, func(string, any) bool { return true }); err != nil {
		return nil, err
	}
	b.WriteString(`},"Metadata":{`)
	kept := func(name string, value any) bool {
		return value != nil && !strings.HasSuffix(strings.ToLower(name), "trigger") && name != "sys"
	}
	if err := writeMembers(&b, metadata, kept); err != nil {
		return nil, err
	}
	if b.Bytes()[b.Len()-1] != '{' {
		b.WriteByte(',')
	}
	sys, err := plainJSON(struct {
		MethodName, UtcNow, RandGuid string //nolint:staticcheck // the real host's spelling goes on the wire
	}{function, now.UTC().Format("2006-01-02T15:04:05.9999999Z"), uuid.NewString()})
	if err != nil {
		return nil, err
	}
	b.WriteString(`"sys":`)
	b.Write(sys)
	b.WriteString("}}")
	return b.Bytes(), nil
}

func writeMembers(b *bytes.Buffer, members map[string]any, kept func(name string, value any) bool) error {
	first := true
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if !kept(name, members[name]) {
			continue
		}
		key, err := plainJSON(name)
		if err != nil {
			return err
		}
		value, err := encodeValue(members[name])
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if !first {
			b.WriteByte(',')
		}
		first = false
		b.Write(key)
		b.WriteByte(':')
		b.Write(value)
	}
	return nil
}

func encodeValue(value any) ([]byte, error) {
	switch v := value.(type) {
	case nil:
		return []byte("null"), nil
	case []byte:
		return plainJSON(v)
	case time.Time:
		return plainJSON(v.UTC().Format("2006-01-02T15:04:05+00:00"))
	case DateTime:
		return plainJSON(time.Time(v).UTC().Format("2006-01-02T15:04:05"))
	}
	text, err := plainJSON(value)
	if err != nil || text[0] == '{' {
		return text, err
	}
	return plainJSON(string(text))
}

// plainJSON is json.Marshal without escapes for HTML, which .NET doesn't write.
func plainJSON(value any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, fmt.Errorf("encoding: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

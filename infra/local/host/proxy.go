package host

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
)

// newProxy hands HTTP through in the real host's proxy mode.
func newProxy(j *job) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite:        j.rewrite,
		Transport:      resender{job: j},
		BufferPool:     &buffers{},
		ModifyResponse: j.modify,
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			j.failed(w, invocationOf(r.Context()), err)
		},
		ErrorLog: slog.NewLogLogger(j.host.options.Logger.Handler(), slog.LevelDebug),
	}
}

// rewrite turns the client's request into the handler's. ReverseProxy has already removed Forwarded, X-Forwarded-*
// and what belongs to the connection.
func (j *job) rewrite(pr *httputil.ProxyRequest) {
	in, out := invocationOf(pr.In.Context()), pr.Out
	out.Host = "" // 127.0.0.1 and the port, as in the URL
	out.URL = &url.URL{Scheme: "http", Host: j.addr, Opaque: in.path, RawQuery: encodeQuery(pr.In.URL.RawQuery), ForceQuery: pr.In.URL.ForceQuery}
	header := out.Header
	for _, value := range pr.In.Header["Connection"] {
		keepNamed(header, pr.In.Header, value)
	}
	delete(header, "Te")
	delete(header, "Upgrade-Insecure-Requests")
	delete(header, "X-Forwarded-Prefix")
	peer, _, err := net.SplitHostPort(pr.In.RemoteAddr)
	if err != nil {
		peer = pr.In.RemoteAddr
	}
	header["X-Forwarded-For"] = []string{peer}
	header["X-Forwarded-Host"] = []string{pr.In.Host}
	header["X-Forwarded-Proto"] = []string{"http"}
	header["X-Ms-Invocation-Id"] = []string{in.id}
	header["X-Azure-Functions-Invocationid"] = []string{in.id}
	header["X-Azure-Functions-Hostversion"] = []string{hostVersion}
}

// keepNamed puts back the headers that a Connection header names: the real host lets them pass, whatever the RFC says.
func keepNamed(out, in http.Header, connection string) {
	for name := range strings.SplitSeq(connection, ",") {
		name = http.CanonicalHeaderKey(strings.TrimSpace(name))
		switch name {
		case "Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer",
			"Transfer-Encoding", "Upgrade", "Forwarded", "Close":
			continue
		}
		if values, ok := in[name]; ok {
			out[name] = values
		}
	}
}

// modify turns the handler's answer into the client's.
func (j *job) modify(res *http.Response) error {
	if res.StatusCode < 200 && res.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("the handler answered with status %d", res.StatusCode)
	}
	for name, values := range res.Header {
		for _, value := range values {
			if !isASCII(value) {
				return fmt.Errorf("the handler's header %s holds text beyond ASCII, which the host can't send", name)
			}
		}
	}
	delete(res.Header, "Alt-Svc")
	if res.StatusCode == http.StatusNoContent {
		delete(res.Header, "Content-Length")
	}
	if in := invocationOf(res.Request.Context()); len(in.trailers) > 0 {
		res.Header["Trailer"] = []string{strings.Join(in.trailers, ", ")}
	}
	j.decorate(res.Header)
	return nil
}

// buffers lends ReverseProxy the memory for copying bodies.
type buffers struct {
	pool sync.Pool
}

const bufferSize = 32 << 10

// Get implements httputil.BufferPool.
func (b *buffers) Get() []byte {
	if held, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return held[:]
	}
	return new([bufferSize]byte)[:]
}

// Put implements httputil.BufferPool.
func (b *buffers) Put(buffer []byte) { b.pool.Put((*[bufferSize]byte)(buffer)) }

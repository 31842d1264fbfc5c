// Package egress calls the URLs that customers register, and nothing else that such a URL could lead to: a server
// that fetches what strangers name is a door into its own network (OWASP API7, server-side request forgery).
//
// What decides is the address that is dialled, after the name was resolved and for every connection. A check
// of the name, or of an earlier answer of the DNS, is passed by a name that answers differently the second time.
// CheckURL is for people: it says at registration what could never work.
//
// What an endpoint can make an attempt cost is bounded as well: its time as a whole, not per read; the bytes of
// its answer; its connections. Redirects aren't followed (an answer is an answer) and proxies of the environment
// aren't used (a proxy would dial for us, unchecked).
//
// Read Post, then address.go for the addresses that are refused, url.go for the URLs, failure.go for the errors.
package egress

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unicode/utf8"
)

// Options change what a Client may call; the zero value is right for production.
type Options struct {
	// AllowLoopback lets local runs and tests call this machine, over plain http too, at any port. Production
	// must refuse to start with it.
	AllowLoopback bool
	// Ports that a URL may name; default 443 and 8443.
	Ports []int
	// Timeout is the whole attempt's: name, connection, request, and the answer to its last byte. Default 20 s.
	Timeout time.Duration
	// MaxBody is how much of an answer's body is read; default 16 KiB. The rest is cut off.
	MaxBody int
	// Resolver and RootCAs replace the system's, for tests.
	Resolver *net.Resolver
	RootCAs  *x509.CertPool
}

const (
	maxHeader = 16 << 10
	// A slow host holds as many of our sockets as it is slow, so one host gets few. Who waits for one of them until
	// its time is over gets ErrBusy.
	connsPerHost     = 8
	idleConnsPerHost = 4
	idleConns        = 100
	// An idle connection is not dialled again, so it stays where the name led when it was made: not for long.
	idleFor = 30 * time.Second
)

// Client calls endpoints. It is safe for concurrent use, and made once: its connections are kept.
type Client struct {
	options       Options
	secure, plain *route // plain only with AllowLoopback
}

// route is a way out: a transport and the dialer whose control is the guard.
type route struct {
	dialer    *net.Dialer
	transport *http.Transport
}

// New makes a client.
func New(o Options) *Client {
	if len(o.Ports) == 0 {
		o.Ports = []int{443, 8443}
	}
	if o.Timeout <= 0 {
		o.Timeout = 20 * time.Second
	}
	if o.MaxBody <= 0 {
		o.MaxBody = 16 << 10
	}
	c := &Client{options: o}
	c.secure = newRoute(o, func(a netip.Addr) bool { return public(a) || o.AllowLoopback && a.IsLoopback() })
	if o.AllowLoopback {
		c.plain = newRoute(o, netip.Addr.IsLoopback)
	}
	return c
}

func newRoute(o Options, allowed func(netip.Addr) bool) *route {
	dialer := &net.Dialer{
		Timeout:  10 * time.Second,
		Resolver: o.Resolver,
		// Called with each address right before it is connected to: between this check and the connection there
		// is no other lookup.
		ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
			target, err := netip.ParseAddrPort(address)
			if err != nil || !allowed(target.Addr().Unmap()) {
				return fmt.Errorf("%w: %s", errRefused, address)
			}
			return nil
		},
	}
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true) // HTTP/2 would put any number of requests on one connection, past connsPerHost
	return &route{dialer: dialer, transport: &http.Transport{
		Proxy:                  nil, // not ProxyFromEnvironment: see the package comment
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs},
		TLSHandshakeTimeout:    10 * time.Second,
		DisableCompression:     true, // 16 KiB that unpack to gigabytes are never unpacked
		Protocols:              protocols,
		MaxConnsPerHost:        connsPerHost,
		MaxIdleConnsPerHost:    idleConnsPerHost,
		MaxIdleConns:           idleConns,
		IdleConnTimeout:        idleFor,
		MaxResponseHeaderBytes: maxHeader,
	}}
}

// Result is an endpoint's answer, whatever its status: what a status means is the caller's business.
type Result struct {
	Status  int
	Header  http.Header // Content-Type and Retry-After, where they came
	Excerpt string      // the body's beginning, as text that any column and any page can hold
	Cut     bool        // the body was longer
	Latency time.Duration
}

// Post makes one attempt. An error that isn't the context's own end is an *Error, whose text may be shown to the
// endpoint's owner. Where an answer began and didn't end, Result has its status beside the error.
func (c *Client) Post(ctx context.Context, rawURL string, header http.Header, body []byte) (Result, error) {
	target, err := c.parse(rawURL)
	if err != nil {
		return Result{}, err
	}
	way := c.secure
	if target.Scheme == "http" {
		way = c.plain
	}
	limited, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	var p progress
	req, err := http.NewRequestWithContext(p.trace(limited), http.MethodPost, target.String(), bytes.NewReader(body))
	if err != nil {
		return Result{}, badURL("it can't be parsed; write it as https://host/path")
	}
	maps.Copy(req.Header, header)
	start := time.Now()
	// The transport, not an http.Client: it follows no redirects and keeps no cookies.
	res, err := way.transport.RoundTrip(req)
	if err != nil {
		return Result{Latency: time.Since(start)}, explain(ctx, limited, &p, err)
	}
	defer func() { _ = res.Body.Close() }() // of a body that goes on, this ends the connection
	result, err := c.read(res)
	result.Latency = time.Since(start)
	if err != nil {
		return result, explain(ctx, limited, &p, err)
	}
	return result, nil
}

// Close ends the connections that are kept for later.
func (c *Client) Close() {
	c.secure.transport.CloseIdleConnections()
	if c.plain != nil {
		c.plain.transport.CloseIdleConnections()
	}
}

func (c *Client) read(res *http.Response) (Result, error) {
	result := Result{Status: res.StatusCode, Header: http.Header{}}
	for _, name := range []string{"Content-Type", "Retry-After"} {
		if value := res.Header.Get(name); value != "" {
			result.Header.Set(name, printable(value))
		}
	}
	// The body of "switching protocols" is the bare connection, which no context ends: reading it would hold this
	// worker for as long as the endpoint likes.
	if res.StatusCode == http.StatusSwitchingProtocols {
		return result, nil
	}
	raw, err := io.ReadAll(io.LimitReader(res.Body, int64(c.options.MaxBody)+1))
	if len(raw) > c.options.MaxBody {
		raw, result.Cut = raw[:c.options.MaxBody], true
	}
	result.Excerpt = printable(string(raw))
	return result, err
}

// printable makes text of what a stranger sent: PostgreSQL refuses a NUL and broken UTF-8, so that an answer with
// one could never be recorded, and a terminal would obey the control characters.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' && c != '\n' && c != '\t' || c >= 0x7f && c < 0xa0 {
			return utf8.RuneError
		}
		return c // of a byte that is no UTF-8, RuneError too
	}, s)
}

// progress is how far an attempt came, for the error that tells the owner.
type progress struct {
	begun, tlsFailed atomic.Bool
}

func (p *progress) trace(ctx context.Context) context.Context {
	begun := func() { p.begun.Store(true) }
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSStart:     func(httptrace.DNSStartInfo) { begun() },
		ConnectStart: func(string, string) { begun() },
		GotConn:      func(httptrace.GotConnInfo) { begun() },
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) {
			p.tlsFailed.Store(err != nil)
		},
	})
}

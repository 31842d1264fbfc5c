package receiver

import (
	"net"
	"net/http"
	"strings"
	"time"
)

const (
	modeOK = "ok"
	// retryAfter is what the two Retry-After modes ask for.
	retryAfter = 10 * time.Second
)

// mode is a way to answer. Status is 0 where no answer comes.
type mode struct {
	Name   string `json:"name"`
	Says   string `json:"says"`
	Status int    `json:"-"`
	answer func(http.ResponseWriter, *http.Request)
}

var modes = []mode{
	{modeOK, "200 when the signature fits, else 401", http.StatusOK, status(http.StatusOK)},
	{"fail", "500", http.StatusInternalServerError, status(http.StatusInternalServerError)},
	{"gone", "410: the endpoint wants no more", http.StatusGone, status(http.StatusGone)},
	{"retry-after", "429 with Retry-After in seconds", http.StatusTooManyRequests, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "10")
		say(w, http.StatusTooManyRequests, map[string]any{"error": "later, please"})
	}},
	{"retry-after-date", "503 with Retry-After as a date", http.StatusServiceUnavailable, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", time.Now().Add(retryAfter).UTC().Format(http.TimeFormat))
		say(w, http.StatusServiceUnavailable, map[string]any{"error": "later, please"})
	}},
	// Who follows it shows up in the list a second time, in the mode ok.
	{"redirect", "307 to /hook/ok, which nobody should follow", http.StatusTemporaryRedirect, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/hook/ok", http.StatusTemporaryRedirect)
	}},
	{"hang", "nothing, until the sender gives up", 0, hang},
	{"slow-drip", "200, then a byte each second without end", http.StatusOK, drip},
	{"reset", "the connection is cut", 0, reset},
}

func find(name string) (mode, bool) {
	for _, m := range modes {
		if m.Name == name {
			return m, true
		}
	}
	return mode{}, false
}

func modeNames() string {
	names := make([]string, 0, len(modes))
	for _, m := range modes {
		names = append(names, m.Name)
	}
	return strings.Join(names, ", ")
}

func status(code int) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		say(w, code, map[string]any{"answer": http.StatusText(code)})
	}
}

func hang(_ http.ResponseWriter, r *http.Request) {
	<-r.Context().Done()
}

func drip(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if _, err := w.Write([]byte(".")); err != nil || control.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		}
	}
}

// reset ends the connection with a TCP reset, as a crashed or overloaded server does.
func reset(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // unsent and unread data is thrown away, and the peer told so
	}
	_ = conn.Close()
}

// Package receiver is a customer's webhook endpoint to try deliveries with: it verifies signatures, shows what came
// on a page, and misbehaves on request.
//
//	POST /hook          answers as the switch says
//	POST /hook/{mode}   answers in that mode whatever the switch says: /hook/fail, /hook/hang ...
//	POST /switch        {"mode": "fail"} turns the switch
//	POST /secrets       {"secret": "whsec_..."}, or the whole answer of register or rotate-secret: verify with it too
//	GET  /received      what came, newest first, ?limit=100; DELETE forgets it
//	GET  /              the same for people
//
// Read hook, then modes.go for the ways to answer, log.go for what is remembered.
package receiver

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/company/order-catalog-service/shared/signature"
)

const (
	// DefaultPort is where the local stack has it.
	DefaultPort = 7073

	maxBody = 1 << 20
	// maxKeys is enough for some endpoints with a rotation each; the oldest goes first.
	maxKeys = 16
)

// Receiver is the endpoint. It keeps everything in memory.
type Receiver struct {
	log log

	mu   sync.Mutex
	mode string
	keys []signature.Key
}

// New makes a receiver that knows no secret and answers well.
func New() *Receiver { return &Receiver{mode: modeOK} }

// Serve listens on addr; url is where it is reached, stop ends it and every answer it is delaying.
func (r *Receiver) Serve(addr string) (url string, stop func(), err error) {
	listener, err := net.Listen("tcp", addr) //nolint:noctx // ends with stop
	if err != nil {
		return "", nil, fmt.Errorf("listening for webhooks: %w", err)
	}
	// No ReadTimeout: it would end the context of an answer that is delayed on purpose.
	server := &http.Server{Handler: r.Handler(), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(listener) }() // returns when it is closed
	return "http://" + listener.Addr().String(), func() {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		_ = server.Shutdown(ctx)
		_ = server.Close()
	}, nil
}

//go:embed page
var page embed.FS

// Handler serves the addresses of the package comment.
func (r *Receiver) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /hook", r.hook)
	mux.HandleFunc("POST /hook/{mode}", r.hook)
	mux.HandleFunc("POST /switch", r.turn)
	mux.HandleFunc("POST /secrets", r.learn)
	mux.HandleFunc("GET /received", r.received)
	mux.HandleFunc("DELETE /received", func(w http.ResponseWriter, _ *http.Request) {
		r.log.clear()
		w.WriteHeader(http.StatusNoContent)
	})
	files, err := fs.Sub(page, "page")
	if err != nil {
		panic(err) // the folder is in the binary
	}
	static := http.FileServerFS(files)
	mux.HandleFunc("GET /", func(w http.ResponseWriter, req *http.Request) {
		// The page shows what strangers sent; it runs nothing but its own script.
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-ancestors 'none'")
		w.Header().Set("Cache-Control", "no-store")
		static.ServeHTTP(w, req)
	})
	// Other sites that are open in the same browser may neither turn the switch nor teach it secrets.
	return http.NewCrossOriginProtection().Handler(mux)
}

// Command is what to paste into a shell to register a receiver's address with the API and tell it the secret.
func Command(api, receiver string) string {
	return fmt.Sprintf(`curl -s %[1]s/api/v1/webhooks/register \
  -H "Authorization: Bearer $(make -s token SUB=shop SCOPE=webhook:manage ROLES=admin)" \
  -H "Idempotency-Key: hook-$(date +%%s)" -H 'Content-Type: application/json' \
  -d '{"url": "%[2]s/hook", "events": ["order.created.v1", "order.confirmed.v1", "order.cancelled.v1"]}' \
  | curl -s %[2]s/secrets -d @-`, api, receiver)
}

// hook takes a delivery: it is written down first, then answered as its mode says.
func (r *Receiver) hook(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	name, keys := r.mode, r.keys
	r.mu.Unlock()
	if in := req.PathValue("mode"); in != "" {
		name = in
	}
	m, ok := find(name)
	if !ok {
		say(w, http.StatusNotFound, map[string]any{"error": "there is no mode " + strconv.Quote(name) + "; use " + modeNames()})
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
	if err != nil {
		say(w, http.StatusRequestEntityTooLarge, map[string]any{"error": "the body can't be read, or has over a megabyte"})
		return
	}
	d := Delivery{At: time.Now().UTC(), ID: req.Header.Get(signature.HeaderID), Mode: m.Name, Status: m.Status}
	if len(keys) == 0 {
		d.Problem = "no secret is known: pipe the answer of register into POST /secrets"
	} else if err := signature.Verify(req.Header, body, time.Now(), keys...); err != nil {
		d.Problem = err.Error()
	}
	d.Verified = d.Problem == ""
	if m.Name == modeOK && !d.Verified {
		d.Status = http.StatusUnauthorized // as every receiver should
	}
	r.log.add(d, body)
	if d.Status == http.StatusUnauthorized {
		say(w, d.Status, map[string]any{"error": d.Problem})
		return
	}
	m.answer(w, req)
}

func (r *Receiver) turn(w http.ResponseWriter, req *http.Request) {
	var in struct {
		Mode string `json:"mode"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, req.Body, maxBody)).Decode(&in); err != nil {
		say(w, http.StatusBadRequest, map[string]any{"error": `send {"mode": "..."} with one of ` + modeNames()})
		return
	}
	if _, ok := find(in.Mode); !ok {
		say(w, http.StatusUnprocessableEntity, map[string]any{"error": "there is no mode " + strconv.Quote(in.Mode) + "; use " + modeNames()})
		return
	}
	r.mu.Lock()
	r.mode = in.Mode
	r.mu.Unlock()
	say(w, http.StatusOK, in)
}

// learn takes a key from whatever object has one. The keys before stay: a rotation's overlap signs with both, and
// several endpoints may lead here.
func (r *Receiver) learn(w http.ResponseWriter, req *http.Request) {
	raw, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
	var in struct {
		ID        string `json:"id"`
		Secret    string `json:"secret"`
		PublicKey string `json:"publicKey"`
	}
	text := ""
	if err == nil && json.Unmarshal(raw, &in) == nil {
		if text = in.Secret; text == "" {
			text = in.PublicKey
		}
	}
	key, err := signature.ParseKey(text)
	if text == "" {
		err = errors.New(`there is no "secret" and no "publicKey" in what was sent`)
	}
	if err != nil {
		answer := map[string]any{"error": err.Error()}
		if text == "" {
			answer["received"] = excerpt(raw) // mostly the API's answer that says why nothing was registered
		}
		say(w, http.StatusUnprocessableEntity, answer)
		return
	}
	r.mu.Lock()
	r.keys = append([]signature.Key{key}, r.keys...)
	r.keys = r.keys[:min(len(r.keys), maxKeys)]
	known := len(r.keys)
	r.mu.Unlock()
	answer := map[string]any{"keys": known, "message": "signatures are verified with it from now on"}
	if in.ID != "" {
		answer["endpoint"] = in.ID
	}
	say(w, http.StatusOK, answer)
}

func (r *Receiver) received(w http.ResponseWriter, req *http.Request) {
	limit, err := strconv.Atoi(req.URL.Query().Get("limit"))
	if err != nil || limit < 1 {
		limit = 100
	}
	r.mu.Lock()
	now, keys := r.mode, len(r.keys)
	r.mu.Unlock()
	say(w, http.StatusOK, struct {
		Mode  string `json:"mode"`
		Modes []mode `json:"modes"`
		Keys  int    `json:"keys"`
		Report
	}{now, modes, keys, r.log.report(limit)})
}

func say(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(body) // a client that left is nobody to tell
}

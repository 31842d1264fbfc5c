package host

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// beHandler is the custom handler of these tests: each path misbehaves in its own way.
func beHandler() {
	note("started %d", os.Getpid())
	if code := os.Getenv("EXIT_AT_START"); code != "" {
		exit(code)
	}
	if os.Getenv("NEVER_LISTEN") != "" {
		select {}
	}
	if file := os.Getenv("LISTEN_WHEN"); file != "" {
		for {
			if _, err := os.Stat(file); err == nil {
				break
			}
			time.Sleep(2 * time.Millisecond)
		}
	}
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	go func() { note("signal %s", <-asked) }()
	mux := http.NewServeMux()
	mux.HandleFunc("/", echo)
	mux.HandleFunc("/drip", func(w http.ResponseWriter, r *http.Request) {
		piece := make([]byte, 100)
		for {
			n, err := r.Body.Read(piece)
			if n > 0 {
				note("drip %s", piece[:n])
			}
			if err != nil {
				break
			}
		}
		echo(w, r)
	})
	mux.HandleFunc("/exit/{code}", func(_ http.ResponseWriter, r *http.Request) {
		note("exit %s", r.Header.Get("X-Ms-Invocation-Id"))
		exit(r.PathValue("code"))
	})
	mux.HandleFunc("/close", func(w http.ResponseWriter, r *http.Request) {
		note("close %s", r.Header.Get("X-Ms-Invocation-Id"))
		_, _ = io.Copy(io.Discard, r.Body) // unread bytes would turn the close into a reset
		conn := hijack(w)
		_ = conn.Close()
	})
	mux.HandleFunc("/reset", func(w http.ResponseWriter, r *http.Request) {
		note("reset %s", r.Header.Get("X-Ms-Invocation-Id"))
		conn := hijack(w)
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	})
	mux.HandleFunc("/hang", func(_ http.ResponseWriter, r *http.Request) {
		note("hang")
		<-r.Context().Done()
		note("gone")
	})
	mux.HandleFunc("/leave-then-hang", func(_ http.ResponseWriter, r *http.Request) {
		text, _ := os.ReadFile(os.Getenv("NOTES"))
		note("leave-then-hang")
		if !strings.Contains(string(text), "leave-then-hang") {
			exit("200")
		}
		<-r.Context().Done()
	})
	mux.HandleFunc("/until/{file}", func(w http.ResponseWriter, r *http.Request) {
		note("until")
		for os.Remove(os.Getenv("NOTES")+"."+r.PathValue("file")) != nil {
			time.Sleep(2 * time.Millisecond)
		}
		echo(w, r)
	})
	mux.HandleFunc("POST /until", func(w http.ResponseWriter, r *http.Request) {
		note("until")
		for os.Remove(os.Getenv("NOTES")+".now") != nil {
			time.Sleep(2 * time.Millisecond)
		}
		echo(w, r)
	})
	mux.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		note("gone")
	})
	mux.HandleFunc("/partial", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		fmt.Fprint(w, "half\n")
		_ = http.NewResponseController(w).Flush()
		os.Exit(3)
	})
	mux.HandleFunc("/answer", func(w http.ResponseWriter, r *http.Request) { // text of an answer in the body
		text, _ := io.ReadAll(r.Body)
		// The connection ends with the answer, so the answer says so.
		status, rest, _ := strings.Cut(string(text), "\r\n")
		conn := hijack(w)
		_, _ = io.WriteString(conn, status+"\r\nConnection: close\r\n"+rest)
		_ = conn.Close()
	})
	mux.HandleFunc("/upgrade", func(w http.ResponseWriter, _ *http.Request) {
		conn := hijack(w)
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n")
		buffer := make([]byte, 100)
		n, _ := conn.Read(buffer)
		_, _ = conn.Write([]byte(strings.ToUpper(string(buffer[:n]))))
		_ = conn.Close()
	})
	mux.HandleFunc("/print", func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(os.Stdout, r.URL.Query().Get("out"))
		_, _ = io.WriteString(os.Stderr, r.URL.Query().Get("err"))
	})
	mux.HandleFunc("/fn", envelopeFunction)
	mux.HandleFunc("/tick", envelopeFunction)
	mux.HandleFunc("/moved", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, "{}")
	})
	listen := net.ListenConfig{}
	listener, err := listen.Listen(context.Background(), "tcp", "127.0.0.1:"+os.Getenv("FUNCTIONS_CUSTOMHANDLER_PORT"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(4)
	}
	var first sync.Once
	all := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		first.Do(func() {
			probe, _ := json.Marshal(describe(r, ""))
			_ = os.WriteFile(os.Getenv("NOTES")+".probe", probe, 0o600)
		})
		if strings.HasPrefix(r.RequestURI, "/api") { // a ServeMux would redirect odd paths
			echo(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
	_ = (&http.Server{Handler: all, ReadHeaderTimeout: time.Minute}).Serve(listener)
}

// envelopeFunction notes the call and answers what Data.answer says; without one, {}.
func envelopeFunction(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	note("call %s", body)
	var call struct {
		Data struct {
			Answer struct {
				Status              int
				Type, Body, To, How string
			}
		}
	}
	_ = json.Unmarshal(body, &call)
	a := call.Data.Answer
	switch a.How {
	case "echo":
		echoed, _ := json.Marshal(describe(r, string(body)))
		note("echo %s", echoed)
	case "hang":
		<-r.Context().Done()
	case "close":
		_ = hijack(w).Close()
		return
	}
	w.Header()["Content-Type"] = nil
	switch {
	case a.Status == 0:
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, "{}")
		return
	case a.Type != "":
		w.Header().Set("Content-Type", a.Type)
	}
	if a.To != "" {
		w.Header().Set("Location", a.To)
	}
	w.WriteHeader(a.Status)
	_, _ = io.WriteString(w, a.Body)
}

func exit(code string) {
	n, _ := strconv.Atoi(code)
	fmt.Fprintf(os.Stderr, "leaving with %d\n", n)
	os.Exit(n)
}

func hijack(w http.ResponseWriter) net.Conn {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	return conn
}

func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		note("cut off")
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(describe(r, string(body)))
}

func describe(r *http.Request, body string) seen {
	env := map[string]string{}
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		env[name] = value
	}
	dir, _ := os.Getwd()
	return seen{
		Method: r.Method, URI: r.RequestURI, Host: r.Host, Body: body, Header: r.Header, Length: r.ContentLength,
		Chunked: len(r.TransferEncoding) > 0, PID: os.Getpid(), Env: env, Dir: dir, Args: os.Args[1:],
	}
}

package main

import (
	"log/slog"
	"net/http"
	"time"
)

// newServer bounds what a connection may cost before a request is one: the edge bounds the rest.
//
// The host in front of us keeps connections open and sends every client's requests over them, so what a slow client makes
// of one may not end the others: each request has its own deadline, and only the host closes an idle connection. It does so
// after about a minute; a server that were first would close one on which a request is just being sent.
func newServer(h http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second, // of a body that no operation reads: those that are read have less, see shared/rest
		WriteTimeout:      time.Minute,
		IdleTimeout:       150 * time.Second,
		MaxHeaderBytes:    64 << 10, // the host takes 32 KiB and adds its own
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
		// "OPTIONS *" is about a server and not about an address: ours is behind others. The edge says that there is nothing.
		DisableGeneralOptionsHandler: true,
	}
}

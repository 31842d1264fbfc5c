package redis

import (
	"context"
	"fmt"
	"sync"

	"github.com/redis/go-redis/v9/auth"
)

// Login is a name and password that change while connections are open: each new one logs in with what is valid then,
// and Changed has those that are open log in again before they are used next. Redis closes a connection whose token
// has run out.
type Login struct {
	current func(context.Context) (user, password string, err error)

	mu        sync.Mutex
	listeners map[auth.CredentialsListener]struct{}
}

// NewLogin makes a login; current is asked at each new connection and must not take long.
func NewLogin(current func(context.Context) (user, password string, err error)) *Login {
	return &Login{current: current, listeners: make(map[auth.CredentialsListener]struct{})}
}

// Subscribe implements auth.StreamingCredentialsProvider. The client calls it for each connection.
func (l *Login) Subscribe(listener auth.CredentialsListener) (auth.Credentials, auth.UnsubscribeFunc, error) {
	l.mu.Lock()
	l.listeners[listener] = struct{}{}
	l.mu.Unlock()
	leave := func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.listeners, listener)
		return nil
	}
	// After the listing: what changes from here on is told.
	credentials, err := l.credentials()
	if err != nil {
		_ = leave() // it never fails
		return nil, nil, err
	}
	return credentials, leave, nil
}

func (l *Login) credentials() (auth.Credentials, error) {
	ctx, cancel := context.WithTimeout(context.Background(), loginTime)
	defer cancel()
	user, password, err := l.current(ctx)
	if err != nil {
		return nil, fmt.Errorf("logging in to redis: %w", err)
	}
	return auth.NewBasicCredentials(user, password), nil
}

// Changed has all open connections log in again.
func (l *Login) Changed() {
	credentials, err := l.credentials()
	l.mu.Lock()
	listeners := make([]auth.CredentialsListener, 0, len(l.listeners))
	for listener := range l.listeners {
		listeners = append(listeners, listener)
	}
	l.mu.Unlock()
	for _, listener := range listeners {
		if err != nil {
			listener.OnError(err)
			continue
		}
		listener.OnNext(credentials)
	}
}

package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/company/order-catalog-service/infra/local/pgserver"
)

// checkout is the repository's root. Everything the stack keeps lies below it, so that two clones on one machine
// share nothing but ports.
type checkout string

// findCheckout looks upwards for the module, so that the command works from any folder of it.
func findCheckout() (checkout, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the checkout: %w", err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "host.json")); err == nil {
			return checkout(dir), nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no host.json here or above: run this inside the checkout")
		}
	}
}

// local is where the stack keeps its data; `make reset` wipes it.
func (c checkout) local(parts ...string) string {
	return filepath.Join(append([]string{string(c), ".local"}, parts...)...)
}

// makeLocal makes the data's folder. PostgreSQL's user must be able to pass it.
func (c checkout) makeLocal() error {
	if err := os.MkdirAll(c.local(), 0o755); err != nil { //nolint:gosec // see above; secrets in it are 0600
		return fmt.Errorf("making %s: %w", c.local(), err)
	}
	return nil
}

// secret is a random text that is made once and kept, so that what it signed stays valid over a restart.
func (c checkout) secret(name string) (string, error) {
	file := c.local(name)
	raw, err := os.ReadFile(file) //nolint:gosec // our own folder
	if text := strings.TrimSpace(string(raw)); err == nil && text != "" {
		return text, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("reading a kept secret: %w", err)
	}
	text := rand.Text() + rand.Text()
	if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keeping a secret: %w", err)
	}
	return text, nil
}

// throwAway makes a folder of which nothing shall stay, and returns it with what deletes it. One whose owner was
// killed is deleted by the next call.
func (c checkout) throwAway() (dir string, remove func(), err error) {
	if err := c.makeLocal(); err != nil {
		return "", nil, err
	}
	if _, err := c.sweep(); err != nil {
		return "", nil, err
	}
	dir, err = os.MkdirTemp(c.local(), "services-")
	if err != nil {
		return "", nil, fmt.Errorf("making a folder for the services: %w", err)
	}
	held, err := tryLock(dir)
	if err != nil {
		return "", nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // PostgreSQL's user must pass
		return "", nil, fmt.Errorf("opening the services' folder: %w", err)
	}
	return dir, func() {
		_ = errors.Join(deleteServices(dir), held.Close()) // the next call tries again
	}, nil
}

// sweep deletes the throw-away folders that nobody holds any more and returns those that are in use.
func (c checkout) sweep() (inUse []string, err error) {
	found, _ := filepath.Glob(c.local("services-*")) // the pattern is well formed
	for _, dir := range found {
		info, err := os.Stat(dir)
		if err != nil {
			continue // it has just gone
		}
		held, err := tryLock(dir)
		switch {
		case errors.Is(err, errLocked):
			inUse = append(inUse, dir)
			continue
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return nil, err
		}
		if time.Since(info.ModTime()) < 10*time.Second { // perhaps made, and not locked yet
			_ = held.Close()
			continue
		}
		err = errors.Join(deleteServices(dir), held.Close())
		if err != nil {
			return nil, fmt.Errorf("deleting what a killed run left: %w", err)
		}
	}
	return inUse, nil
}

func deleteServices(dir string) error {
	return errors.Join(pgserver.Wipe(filepath.Join(dir, "postgres")), os.RemoveAll(dir))
}

package pgserver

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is who runs the server. PostgreSQL refuses root, so root runs it as somebody else; anybody else runs
// it as themselves.
type account struct {
	uid, gid uint32
	other    bool
}

func unprivileged() (account, error) {
	if os.Geteuid() != 0 {
		return account{}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil {
			return account{uint32(uid), uint32(gid), true}, nil
		}
	}
	return account{}, errors.New("PostgreSQL does not run as root, and this machine has neither a user postgres nor a user nobody: run as an ordinary user, or set DATABASE_URL")
}

func (a account) attr() *syscall.SysProcAttr {
	if !a.other {
		return &syscall.SysProcAttr{}
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: a.uid, Gid: a.gid}}
}

func (a account) own(path string) error {
	if !a.other {
		return nil
	}
	if err := os.Chown(path, int(a.uid), int(a.gid)); err != nil {
		return fmt.Errorf("giving %s to PostgreSQL's user: %w", path, err)
	}
	return nil
}

// otherPlaces are where data goes that can't stay in the checkout, the lasting one first.
func otherPlaces() []string { return []string{"/var/lib", os.TempDir(), "/tmp"} }

// reachable is dir, or a place of its own elsewhere when the server's user can't enter a parent of it (a private
// home or temp folder). Its parent exists then.
func reachable(dir string, a account, log func(string)) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("finding PostgreSQL's data: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil { //nolint:gosec // the server's user must pass
		return "", fmt.Errorf("making %s: %w", filepath.Dir(dir), err)
	}
	if !a.other || a.enters(filepath.Dir(dir)) {
		return dir, nil
	}
	for _, base := range otherPlaces() {
		if !a.enters(base) {
			continue
		}
		elsewhere := filepath.Join(base, moved(dir))
		if err := os.MkdirAll(elsewhere, 0o755); err != nil { //nolint:gosec // the server's user must pass
			continue
		}
		log(fmt.Sprintf("PostgreSQL's user can't enter %s: its data is in %s", filepath.Dir(dir), elsewhere))
		return filepath.Join(elsewhere, filepath.Base(dir)), nil
	}
	return "", fmt.Errorf("PostgreSQL's user can't enter %s, and no other place was found: move the checkout, or set DATABASE_URL", filepath.Dir(dir))
}

// moved names the folder of data that had to leave dir: two checkouts never share one.
func moved(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return "order-catalog-" + hex.EncodeToString(sum[:6])
}

// Wipe deletes the cluster of dir, wherever it lies. No server may run on it.
func Wipe(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("finding PostgreSQL's data: %w", err)
	}
	errs := []error{os.RemoveAll(dir), os.RemoveAll(dir + ".new"), os.RemoveAll(dir + ".log"), os.RemoveAll(dir + ".password")}
	if os.Geteuid() == 0 { // nobody else's data is ever moved
		for _, base := range otherPlaces() {
			errs = append(errs, os.RemoveAll(filepath.Join(base, moved(dir))))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("deleting PostgreSQL's data: %w", err)
	}
	return nil
}

// enters tells whether the account may pass through dir and all its parents.
func (a account) enters(dir string) bool {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return false
	}
	for ; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return false
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return false
		}
		mode := uint32(info.Mode().Perm())
		if mode&0o001 == 0 && (st.Uid != a.uid || mode&0o100 == 0) && (st.Gid != a.gid || mode&0o010 == 0) {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
	}
}

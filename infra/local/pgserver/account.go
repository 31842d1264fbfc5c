package pgserver

import (
	"crypto/sha256"
	"encoding/hex"
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
	return account{}, fmt.Errorf("PostgreSQL does not run as root and this machine has neither a user postgres nor nobody: run as an ordinary user, or set DATABASE_URL")
}

func (a account) attr() *syscall.SysProcAttr {
	if !a.other {
		return &syscall.SysProcAttr{}
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: a.uid, Gid: a.gid}}
}

func (a account) own(dir string) error {
	if !a.other {
		return nil
	}
	if err := os.Chown(dir, int(a.uid), int(a.gid)); err != nil {
		return fmt.Errorf("giving %s to PostgreSQL's user: %w", dir, err)
	}
	return nil
}

// reachable is dir, or a place of its own elsewhere when the server's user can't enter a parent of it (a private
// home or temp folder).
func reachable(dir string, a account, log func(string)) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("finding %s: %w", dir, err)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil { //nolint:gosec // the server's user must pass
		return "", fmt.Errorf("making %s: %w", filepath.Dir(dir), err)
	}
	if !a.other || a.enters(filepath.Dir(dir)) {
		return dir, nil
	}
	for _, base := range []string{"/var/lib", os.TempDir(), "/tmp"} {
		if !a.enters(base) {
			continue
		}
		parent := filepath.Join(base, "order-catalog-"+DirName(dir))
		if err := os.MkdirAll(parent, 0o755); err != nil { //nolint:gosec // the server's user must pass
			continue
		}
		moved := filepath.Join(parent, filepath.Base(dir))
		log(fmt.Sprintf("PostgreSQL's user can't enter %s: its data is in %s", filepath.Dir(dir), moved))
		return moved, nil
	}
	return "", fmt.Errorf("PostgreSQL's user can't enter %s, and no other place was found: move the checkout, or set DATABASE_URL", filepath.Dir(dir))
}

// DirName names what belongs to a directory of a checkout, wherever it lies.
func DirName(dir string) string {
	sum := sha256.Sum256([]byte(filepath.Dir(dir)))
	return hex.EncodeToString(sum[:6])
}

// MovedDir is where reachable would have put dir's data, when it had to move it: "" when it is not there.
func MovedDir(dir string) string {
	for _, base := range []string{"/var/lib", os.TempDir(), "/tmp"} {
		moved := filepath.Join(base, "order-catalog-"+DirName(dir))
		if _, err := os.Stat(moved); err == nil {
			return moved
		}
	}
	return ""
}

// enters tells whether the account may pass through dir and all its parents.
func (a account) enters(dir string) bool {
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

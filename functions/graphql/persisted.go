package graphql

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/maypok86/otter/v2"

	"github.com/company/order-catalog-service/functions/graphql/engine"
)

// Mode says what becomes of documents that are not in the manifest.
type Mode string

// The modes.
const (
	TrustOff     Mode = "off"     // they are executed
	TrustReport  Mode = "report"  // they are executed, and the first of each is logged
	TrustEnforce Mode = "enforce" // they are refused
)

// Trusted are the documents that were known when the clients were built.
type Trusted struct {
	// Manifest is a JSON text: an object of documents by id, as Relay writes it, or Apollo's
	// {"format": "apollo-persisted-query-manifest", "version": 1, "operations": [{"id", "body"}]}.
	Manifest []byte
	Mode     Mode // "" is TrustOff
}

const (
	registeredFor  = 24 * time.Hour
	maxRegistered  = 2000
	perCaller      = 100 // of one caller's that are kept: who fills the store pushes out their own
	maxCallers     = 10_000
	reportedAtMost = 1000
)

// persisted are the documents that a request may name instead of bringing them.
type persisted struct {
	mode     Mode
	trusted  map[string]string // text by id
	digests  map[[sha256.Size]byte]bool
	texts    *otter.Cache[string, string] // registered ones, by hash
	mu       sync.Mutex
	of       *otter.Cache[uuid.UUID, []string] // hashes by caller, oldest first
	reported map[[sha256.Size]byte]bool
}

func newPersisted(schema *engine.Schema, t Trusted) (*persisted, error) {
	p := &persisted{mode: t.Mode, trusted: map[string]string{}, digests: map[[sha256.Size]byte]bool{}, reported: map[[sha256.Size]byte]bool{}}
	switch p.mode {
	case "":
		p.mode = TrustOff
	case TrustOff, TrustReport, TrustEnforce:
	default:
		return nil, fmt.Errorf("%q is no mode of trusted documents: want off, report or enforce", t.Mode)
	}
	if p.mode != TrustOff && len(t.Manifest) == 0 {
		return nil, fmt.Errorf("trusted documents are in mode %s, and there is no manifest", p.mode)
	}
	if err := p.read(schema, t.Manifest); err != nil {
		return nil, fmt.Errorf("reading the manifest of trusted documents: %w", err)
	}
	var err error
	if p.texts, err = otter.New(&otter.Options[string, string]{
		MaximumSize: maxRegistered, ExpiryCalculator: otter.ExpiryAccessing[string, string](registeredFor),
	}); err != nil {
		return nil, fmt.Errorf("making the store of persisted documents: %w", err)
	}
	if p.of, err = otter.New(&otter.Options[uuid.UUID, []string]{
		MaximumSize: maxCallers, ExpiryCalculator: otter.ExpiryAccessing[uuid.UUID, []string](registeredFor),
	}); err != nil {
		return nil, fmt.Errorf("making the store of persisted documents: %w", err)
	}
	return p, nil
}

// read takes the manifest in. A document that the schema has no answer for stops the service at its start, not a client.
func (p *persisted) read(schema *engine.Schema, manifest []byte) error {
	if len(manifest) == 0 {
		return nil
	}
	var apollo struct {
		Operations []struct{ ID, Body string } `json:"operations"`
	}
	plain := map[string]string{}
	if err := json.Unmarshal(manifest, &plain); err != nil {
		if err := json.Unmarshal(manifest, &apollo); err != nil || len(apollo.Operations) == 0 {
			return errors.New(`it is neither {"id": "document"} nor Apollo's manifest`)
		}
		clear(plain) // of what was read before it turned out to be another form
		for _, op := range apollo.Operations {
			plain[op.ID] = op.Body
		}
	}
	var wrong []error
	for id, text := range plain {
		if _, err := schema.Prepare(text); err != nil {
			wrong = append(wrong, fmt.Errorf("document %s: %w", id, err))
		}
		p.trusted[id] = text
		p.digests[sha256.Sum256([]byte(text))] = true
	}
	return errors.Join(wrong...)
}

// errUnknownHash is what clients of automatic persisted queries wait for: they send the text then.
var errUnknownHash = &engine.Error{Message: "PersistedQueryNotFound", Code: "PERSISTED_QUERY_NOT_FOUND"}

// text is the document that a request names or brings. The error is an *engine.Error.
func (p *persisted) text(q *request) (string, error) {
	if q.documentID != "" {
		if text, ok := p.trusted[q.documentID]; ok {
			return text, nil
		}
		// Others may name by its digest what was registered.
		if hash, ok := strings.CutPrefix(q.documentID, "sha256:"); ok && p.mode != TrustEnforce {
			if text, ok := p.texts.GetIfPresent(strings.ToLower(hash)); ok {
				return text, nil
			}
		}
		return "", &engine.Error{Message: "There is no document of this id.", Code: "PERSISTED_DOCUMENT_NOT_FOUND"}
	}
	if q.query == "" {
		if text, ok := p.trusted[q.hash]; ok {
			return text, nil
		}
		if text, ok := p.texts.GetIfPresent(q.hash); ok && p.mode != TrustEnforce {
			return text, nil
		}
		return "", errUnknownHash
	}
	digest := sha256.Sum256([]byte(q.query))
	if q.hash != "" && q.hash != hex.EncodeToString(digest[:]) {
		return "", &engine.Error{Message: "sha256Hash is not the SHA-256 of query.", Code: "PERSISTED_QUERY_HASH_MISMATCH"}
	}
	if p.mode == TrustEnforce && !p.digests[digest] {
		return "", &engine.Error{Message: "Only documents of the manifest are executed here.", Code: "DOCUMENT_NOT_TRUSTED"}
	}
	return q.query, nil
}

// stray tells, once for each, that a document is not in the manifest while somebody wants to know.
func (p *persisted) stray(d *engine.Document) bool {
	if p.mode != TrustReport || p.digests[d.Digest] {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reported[d.Digest] || len(p.reported) >= reportedAtMost {
		return false
	}
	p.reported[d.Digest] = true
	return true
}

// register keeps a document under its hash, once it is known to be valid and affordable.
func (p *persisted) register(caller uuid.UUID, hash, text string) {
	if _, known := p.texts.GetIfPresent(hash); known {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	own, _ := p.of.GetIfPresent(caller)
	own = append(slices.Clone(own), hash)
	if len(own) > perCaller {
		p.texts.Invalidate(own[0])
		own = own[1:]
	}
	p.of.Set(caller, own)
	p.texts.Set(hash, text)
}

// isDigest tells whether a text is a SHA-256 in hexadecimal digits.
func isDigest(s string) bool {
	raw, err := hex.DecodeString(s)
	return err == nil && len(raw) == sha256.Size
}

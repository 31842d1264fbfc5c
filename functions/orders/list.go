package orders

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"net/http"
	"net/url"
	"strconv"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/shared/cache"
	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/shared/paging"
	"github.com/company/order-catalog-service/shared/rest"
)

// OrderPage is a part of a customer's orders, newest first.
type OrderPage struct {
	Items      []Order `json:"items"`
	NextCursor string  `json:"nextCursor,omitempty" doc:"Goes on from here; absent on the last page"`
}

type listInput struct {
	PageSize   int    `query:"pageSize" minimum:"1" maximum:"100" default:"20"`
	Cursor     string `query:"cursor" maxLength:"2048" doc:"nextCursor of the page before"`
	CustomerID string `query:"customerId" maxLength:"255" doc:"Whose orders; another than the caller needs the role admin"`
}

// usualSize is the page size that is kept in Redis: the one that clients get who don't ask for one.
const usualSize = 20

type position struct {
	ID uuid.UUID `json:"i"`
}

// newest is above every UUIDv7: where the first page starts.
var newest = uuid.Max

// list answers with a page. The first one of one's own orders is what people look at, before and after each order: it is
// kept in Redis. What an admin sees of others isn't, nor what GraphQL shows.
func (o *Orders) list(ctx context.Context, in *listInput) (rest.Answer, error) {
	caller := rest.From(ctx).Caller
	if in.CustomerID == "" {
		in.CustomerID = caller.CustomerID()
	}
	customer, err := o.onBehalf(caller, in.CustomerID)
	if err != nil {
		return rest.Answer{}, err
	}
	query := url.Values{"pageSize": {strconv.Itoa(in.PageSize)}}
	if in.CustomerID != caller.CustomerID() {
		query.Set("customerId", in.CustomerID)
	}
	scope, after := paging.Scope("orders", customer.String()), position{newest}
	if in.Cursor != "" {
		if err := o.Cursors.Decode(scope, in.Cursor, &after); err != nil {
			return rest.Answer{}, rest.NewProblem(rest.Malformed, "The cursor is not one of this list. Start again without it.")
		}
	}
	load := func(ctx context.Context) (cache.Entry, string, error) {
		return o.page(ctx, customer, scope, after, in.PageSize, query)
	}
	var entry cache.Entry
	if in.Cursor == "" && in.PageSize == usualSize && in.CustomerID == caller.CustomerID() {
		entry, err = o.lists.Get(ctx, listKey(customer), cache.Source{Load: load, Mark: func(ctx context.Context) (string, error) {
			return o.mark(ctx, customer)
		}})
	} else {
		entry, _, err = load(ctx)
	}
	if err != nil {
		return rest.Answer{}, err
	}
	return rest.Answer{
		Status: http.StatusOK, ContentType: "application/json", ETag: entry.ETag, CacheControl: "private, no-store", Link: entry.Link, Body: entry.Body,
	}, nil
}

// page reads one order more than asked for, to know whether a page follows.
func (o *Orders) page(ctx context.Context, customer uuid.UUID, scope string, after position, size int, q url.Values) (cache.Entry, string, error) {
	var found []Order
	err := o.Pools.Reads.Do(ctx, func(conn *pgx.Conn) (err error) {
		found, err = query(ctx, conn, listSQL, customer, after.ID, size+1)
		return err
	})
	if err != nil {
		return cache.Entry{}, "", err
	}
	m := newMark()
	for i := range found {
		m.add(found[i].ID, found[i].version)
	}
	page := OrderPage{Items: append([]Order{}, found...)}
	if len(found) > size {
		page.Items = page.Items[:size]
		if page.NextCursor, err = o.Cursors.Encode(scope, position{page.Items[size-1].ID}); err != nil {
			return cache.Entry{}, "", err
		}
	}
	answer, err := rest.JSON(http.StatusOK, page)
	return cache.Entry{Body: answer.Body, ETag: answer.ETag, Link: paging.Link(base, q, page.NextCursor)}, m.String(), err
}

// mark reads what the first page is known by.
func (o *Orders) mark(ctx context.Context, customer uuid.UUID) (string, error) {
	m := newMark()
	err := o.Pools.Reads.Do(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, listMarkSQL, customer, usualSize+1)
		if err != nil {
			return err
		}
		var (
			id      uuid.UUID
			version int64
		)
		_, err = pgx.ForEachRow(rows, []any{&id, &version}, func() error {
			m.add(id, version)
			return nil
		})
		return err
	})
	return m.String(), err
}

// mark is a digest over the orders of a page and their versions, which are all of them that ever changes.
type mark struct{ h hash.Hash }

func newMark() mark { return mark{sha256.New()} }

func (m mark) add(id uuid.UUID, version int64) {
	m.h.Write(binary.BigEndian.AppendUint64(id[:], uint64(version))) //nolint:gosec // any number will do
}

func (m mark) String() string { return base64.RawURLEncoding.EncodeToString(m.h.Sum(nil)) }

// listKey is where a customer's list is in Redis. The hash tag is the one of the claims that the customer's own writes make.
func listKey(customer uuid.UUID) string {
	return "order:{" + hex.EncodeToString(customer[:]) + "}:list"
}

// ListStats are the counts of the lists that are kept in Redis.
func (o *Orders) ListStats() cache.Stats { return o.lists.Stats() }

// holding has a caller's own list held while they write: whoever answers them next shows what this did. A list of somebody
// else's could not be in the same script as the caller's key, and is forgotten after the commit.
func (o *Orders) holding(key idempotency.Request) idempotency.Request {
	if o.Redis != nil {
		key.Hold, key.Lost = listKey(key.Caller), o.lost
	}
	return key
}

// changed forgets the lists of customers whose orders somebody else has changed than who was about to read them.
func (o *Orders) changed(ctx context.Context, customers ...uuid.UUID) {
	for _, customer := range customers {
		o.lists.Forget(ctx, listKey(customer))
	}
}

package catalog

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/shared/money"
	"github.com/company/order-catalog-service/shared/postgres"
)

// Row is a product of an import file with its stock. ID may be nil: then the database's clock gives it one.
type Row struct {
	ID                               uuid.UUID
	SKU, Name, Description, Category string
	Price                            money.Money
	Stock                            int64
	Images                           []string
}

// members are a file's columns, and the members of a JSON row. One more may be there: images, URLs with blanks between
// them; a product whose row has none keeps those that it has.
var members = []string{"sku", "name", "description", "category", "price", "currency", "stock"}

// maxMistakes is how many bad rows are named; a file of nothing else is one mistake.
const maxMistakes = 50

// Read reads a catalog file: CSV with a header line naming the members in any order, or a JSON array of objects.
// The error names every bad row with its line and what is wrong with it.
func Read(name string, r io.Reader) ([]Row, error) {
	if strings.HasSuffix(strings.ToLower(name), ".json") {
		return readJSON(r)
	}
	return readCSV(r)
}

func readCSV(r io.Reader) ([]Row, error) {
	in := csv.NewReader(r)
	head, err := in.Read()
	if err != nil {
		return nil, fmt.Errorf("reading the header line: %w; want %s", err, strings.Join(members, ","))
	}
	column := make(map[string]int)
	for i, name := range head {
		column[strings.ToLower(strings.TrimSpace(strings.TrimPrefix(name, "\ufeff")))] = i
	}
	for _, name := range members {
		if _, ok := column[name]; !ok {
			return nil, fmt.Errorf("line 1: the column %s is missing; want %s", name, strings.Join(members, ","))
		}
	}
	var c collector
	for {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			return c.done()
		}
		line, _ := in.FieldPos(0)
		if err != nil {
			var parse *csv.ParseError
			if errors.As(err, &parse) {
				c.bad(parse.Line, parse.Err.Error())
				continue
			}
			return nil, fmt.Errorf("reading the file: %w", err)
		}
		c.add(line, func(name string) string {
			if at, ok := column[name]; ok {
				return strings.TrimSpace(record[at])
			}
			return ""
		})
	}
}

func readJSON(r io.Reader) ([]Row, error) {
	var list []map[string]any
	dec := json.NewDecoder(r)
	dec.UseNumber()
	if err := dec.Decode(&list); err != nil {
		return nil, fmt.Errorf("reading the file at byte %d: %w; want a JSON array of objects", dec.InputOffset(), err)
	}
	var c collector
	for i, object := range list {
		c.add(i+1, func(name string) string {
			if object[name] == nil {
				return ""
			}
			return strings.TrimSpace(fmt.Sprint(object[name]))
		})
	}
	return c.done()
}

// collector gathers rows and mistakes.
type collector struct {
	rows     []Row
	mistakes []string
	skus     map[string]int
}

func (c *collector) bad(line int, text string) {
	c.mistakes = append(c.mistakes, fmt.Sprintf("line %d: %s", line, text))
}

func (c *collector) add(line int, get func(string) string) {
	row := Row{SKU: get("sku"), Name: get("name"), Description: get("description"), Category: get("category")}
	var wrong []string
	for _, f := range []struct {
		name, value string
		least, most int
	}{{"sku", row.SKU, 1, 64}, {"name", row.Name, 1, 200}, {"description", row.Description, 0, 4000}, {"category", row.Category, 1, 80}} {
		if n := len([]rune(f.value)); n < f.least || n > f.most {
			wrong = append(wrong, fmt.Sprintf("%s has %d characters, want %d to %d", f.name, n, f.least, f.most))
		}
	}
	var err error
	if row.Price, err = money.Parse(get("price"), get("currency")); err != nil {
		wrong = append(wrong, "price: "+err.Error())
	} else if row.Price.Minor() < 0 {
		wrong = append(wrong, "price is negative")
	}
	if row.Stock, err = strconv.ParseInt(get("stock"), 10, 64); err != nil || row.Stock < 0 || row.Stock > 1_000_000_000 {
		wrong = append(wrong, fmt.Sprintf("stock %q is not a whole number from 0 to 1000000000", get("stock")))
	}
	for _, image := range strings.Fields(get("images")) {
		if row.Images = append(row.Images, image); !isImage(image) || len(row.Images) > 20 {
			wrong = append(wrong, "images: want up to 20 absolute http or https URLs of up to 500 characters, with blanks between them")
			break
		}
	}
	if c.skus == nil {
		c.skus = make(map[string]int)
	}
	if first, twice := c.skus[row.SKU]; twice {
		wrong = append(wrong, fmt.Sprintf("sku %s stands in line %d already", row.SKU, first))
	}
	c.skus[row.SKU] = line
	if len(wrong) > 0 {
		c.bad(line, strings.Join(wrong, "; "))
		return
	}
	c.rows = append(c.rows, row)
}

func (c *collector) done() ([]Row, error) {
	if len(c.mistakes) == 0 {
		return c.rows, nil
	}
	shown, more := c.mistakes, ""
	if len(shown) > maxMistakes {
		more = fmt.Sprintf("\nand %d more", len(shown)-maxMistakes)
		shown = shown[:maxMistakes]
	}
	return nil, fmt.Errorf("%d rows are wrong, nothing was imported:\n%s%s", len(c.mistakes), strings.Join(shown, "\n"), more)
}

const upsertSQL = `/* Catalog.Import */
INSERT INTO products (id, sku, name, description, category, price_minor, currency, images)
SELECT d.id, d.sku, d.name, d.description, d.category, d.price, d.currency, string_to_array(d.images, ' ')
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::text[])
    AS d (id, sku, name, description, category, price, currency, images)
ON CONFLICT (sku) DO UPDATE SET name = EXCLUDED.name, description = EXCLUDED.description, category = EXCLUDED.category,
    price_minor = EXCLUDED.price_minor, currency = EXCLUDED.currency, updated_at = now(),
    images = CASE WHEN EXCLUDED.images = '{}' THEN products.images ELSE EXCLUDED.images END`

// stockSQL sets what is available; initial moves by the same number of units, so what was sold stays counted.
const stockSQL = `/* Catalog.ImportStock */
INSERT INTO inventory (product_id, initial, available)
SELECT p.id, d.stock, d.stock FROM unnest($1::text[], $2::bigint[]) AS d (sku, stock) JOIN products p ON p.sku = d.sku
ON CONFLICT (product_id) DO UPDATE SET
    initial = inventory.initial + EXCLUDED.available - inventory.available,
    available = EXCLUDED.available, sequence = inventory.sequence + 1`

// Import writes rows in one transaction: all or nothing. A product that is there (by sku) gets the row's texts,
// price and stock. progress is told how many rows are done. Importing a file twice leaves the same catalog.
func Import(ctx context.Context, pool *postgres.Pool, rows []Row, progress func(done, total int)) error {
	err := pool.Tx(ctx, func(tx pgx.Tx) error {
		var now time.Time
		if err := tx.QueryRow(ctx, `SELECT clock_timestamp() FROM set_config('statement_timeout', '120s', true)`).Scan(&now); err != nil {
			return err
		}
		// Existing products are locked in id order first, as every transaction locks them.
		skus := make([]string, len(rows))
		for i, row := range rows {
			skus[i] = row.SKU
		}
		if _, err := tx.Exec(ctx, `SELECT 1 FROM inventory WHERE product_id IN (SELECT id FROM products WHERE sku = ANY($1)) ORDER BY product_id FOR NO KEY UPDATE`, skus); err != nil {
			return err
		}
		done := 0
		for chunk := range slices.Chunk(rows, 250) {
			if err := importChunk(ctx, tx, chunk, now); err != nil {
				return err
			}
			done += len(chunk)
			progress(done, len(rows))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("importing products: %w", err)
	}
	return nil
}

func importChunk(ctx context.Context, tx pgx.Tx, rows []Row, now time.Time) error {
	n := len(rows)
	ids, prices, stocks := make([]uuid.UUID, n), make([]int64, n), make([]int64, n)
	skus, names, texts, categories, currencies := make([]string, n), make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	images := make([]string, n)
	for i, row := range rows {
		images[i] = strings.Join(row.Images, " ")
		if ids[i] = row.ID; row.ID == uuid.Nil {
			ids[i] = postgres.NewID(now)
		}
		prices[i], stocks[i], currencies[i] = row.Price.Minor(), row.Stock, row.Price.Currency()
		skus[i], names[i], texts[i], categories[i] = row.SKU, row.Name, row.Description, row.Category
	}
	if _, err := tx.Exec(ctx, upsertSQL, ids, skus, names, texts, categories, prices, currencies, images); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, stockSQL, skus, stocks)
	return err
}

// Empty tells whether there is no product yet.
func Empty(ctx context.Context, pool *postgres.Pool) (empty bool, err error) {
	err = pool.Do(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `/* Catalog.Empty */ SELECT NOT EXISTS (SELECT FROM products)`).Scan(&empty)
	})
	if err != nil {
		return false, fmt.Errorf("looking for products: %w", err)
	}
	return empty, nil
}

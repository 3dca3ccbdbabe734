/** What each reason of a dead letter means, and what would mend it. */
export interface Mend {
  means: string;
  way: string;
}

const REASONS: Record<string, Mend> = {
  bad_json: {means: 'The record is no JSON document.', way: 'Look at its bytes: a page of HTML or an empty text comes from what sends it. What is compressed, or is Avro, says so in the detail.'},
  bad_utf8: {means: 'The text of the record is not UTF-8.', way: 'What sends it cuts texts in the middle of a character, or writes Latin-1. Mend it there.'},
  bad_document: {means: 'The record is no document of this format.', way: 'Compare its bytes with decode.format and the schema in the pipeline’s file.'},
  type_mismatch: {means: 'A field has another type than its column.', way: 'The detail names the column. Change its type in decode.columns, or what sends it.'},
  out_of_range: {means: 'A value does not fit its column.', way: 'Widen the column’s type in the file (more digits, int64), or mend what sends it.'},
  unknown_field: {means: 'The record has a field that no column takes, and decode.unknown_fields is reject.', way: 'Declare the column, or set unknown_fields to ignore, rescue or add.'},
  too_deep: {means: 'The document is nested too deep.', way: 'Let what sends it write flatter documents.'},
  too_large: {means: 'The record is larger than a record may be.', way: 'Let what sends it cut it into several.'},
  future_timestamp: {means: 'Its event time lies too far ahead of the clock.', way: 'Mend the clock of the device, or raise event_time.max_future.'},
  transform_error: {means: 'The SQL of a transform fails for this row.', way: 'The detail says what: mend the transform, often by TRY_CAST or CASE.'},
  null_value: {means: 'A column is null that the table in the lake has as NOT NULL.', way: 'Mend what sends it, or fill the column in a transform before the table.'},
  partition_value: {means: 'A value cannot name a partition, such as NaN.', way: 'Replace it in a transform before the table, or mend what sends it.'},
  route_limit: {means: 'The route has as many tables as max allows.', way: 'Raise max of the route.'},
  route_name: {means: 'The value cannot be the name of a table.', way: 'Make a name of it in a transform.'},
  route_null: {means: 'The value that says which table is null.', way: 'Fill it in a transform, or mend what sends it.'},
};

export const mendOf = (reason: string): Mend =>
  REASONS[reason] ?? {means: 'The detail of a sample says what was wrong.', way: 'Look at the samples below; docs/operating.md knows the reasons.'};

/** Who could not take it: decode, event_time, transform:NAME, aggregate:NAME, table:NAME. */
export function stageOf(stage: string): string {
  const [kind, name] = stage.split(/:(.*)/s);
  return kind === 'decode' ? 'reading the record' : kind === 'event_time' ? 'the check of its event time' : `${kind} ${name ?? ''}`.trim();
}

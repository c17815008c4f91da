-- How many lines a dump has, and how many of them are messages: with a topic that is text.
SELECT count(*) AS lines,
       count(*) FILTER (WHERE fault IS DISTINCT FROM 'bad_line' AND NOT (encoding IS NOT DISTINCT FROM 'backslashes'
                        AND contains(topic, '\x')) AND NOT contains(topic, chr(0))) AS messages
FROM temp.incoming_messages

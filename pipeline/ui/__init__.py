"""What is shown: terminal, log lines, HTML report, pictures of the task graph.

Takes values, returns text or writes it. Guarantees: no control character and no secret reaches a terminal or a page, whoever
chose the text; where there is no terminal, nothing is drawn.
"""

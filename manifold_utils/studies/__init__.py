"""One file a study, each for the chapters that name it: nobody else imports them, and they do not import each other."""

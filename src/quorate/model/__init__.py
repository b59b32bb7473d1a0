"""What is known: values, documents, codecs and tables. No decision is made here and nothing here touches the machine."""
